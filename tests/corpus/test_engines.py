"""Ray and Spark for real, on this machine: the rows of a local run, also when a worker dies on the way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from distilled_filters.corpus import engines
from distilled_filters.corpus.engines import score_on
from distilled_filters.corpus.errors import WorkerError
from distilled_filters.corpus.scoring import score_records
from distilled_filters.corpus.sources import Record
from distilled_filters.errors import MissingExtraError, RecordError
from distilled_filters.panel import Panel
from distilled_filters.status import Status
from tests.conftest import SNIPPET, House
from tests.corpus.test_workers import Deadly

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX"),
    # Ray and Spark leave sockets, processes and files to the end of the process.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(params=["ray", "spark"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An engine whose module is there, with small batches."""
    pytest.importorskip({"ray": "ray", "spark": "pyspark"}[request.param])
    monkeypatch.setattr(engines, "_BATCH_RECORDS", 6)
    # Workers find the tests' own classes there.
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    return str(request.param)


def test_ac25_rows_are_those_of_a_local_run_though_a_worker_dies(engine: str, tmp_path: Path) -> None:
    panel = Panel(["uplifting"], threads=1)
    kinds = ({"id": 1, "content": SNIPPET}, RecordError(Status.INVALID, "broken"), None, b"bytes", SNIPPET)
    records = [Record(row, kinds[row % 5], 0, source=1, index=row + 5) for row in range(30)]
    expected = list(score_records(panel, records))
    records[14] = Record(14, Deadly(tmp_path / "died"), 0, source=1, index=19)
    assert list(score_on(engine, panel, records, workers=2)) == expected
    assert (tmp_path / "died").exists()


@pytest.mark.parametrize("engine", ["spark"], indirect=True)
def test_a_worker_without_the_filter_says_so_in_one_line(
    engine: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.add("uplifting", version="7.0.0")
    house.use(monkeypatch)
    with pytest.raises(WorkerError, match=r"could not score rows 0 to 0: .*uplifting") as error:
        list(score_on(engine, Panel(["uplifting"], threads=1), [Record(0, SNIPPET, 0)], workers=1))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "module"), [("ray", "ray"), ("spark", "pyspark")])
def test_an_engine_that_is_missing_is_named_with_its_remedy(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'distilled-filters\[{name}\]'"):
        score_on(name, Panel(["uplifting"], threads=1), [])
