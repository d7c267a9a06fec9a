from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from distilled_filters.corpus import workers
from distilled_filters.corpus.errors import WorkerError
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.scoring import score_records
from distilled_filters.corpus.sources import Record
from distilled_filters.corpus.workers import score_in_processes
from distilled_filters.errors import RecordError
from distilled_filters.filter import Filter
from distilled_filters.panel import Panel
from distilled_filters.status import Status
from tests.conftest import SNIPPET, House
from tests.language_models import CHECKPOINT, add_expert

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")


def _die_once(marker: Path | None) -> str:
    """Kill the process that unpickles this, but only the first one where there is a marker."""
    if marker is None or not marker.exists():
        if marker is not None:
            marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return SNIPPET


class Deadly:
    """An article that kills the worker it comes to."""

    def __init__(self, marker: Path | None) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path | None]]:
        return _die_once, (self.marker,)


def _records(count: int) -> Iterator[Record]:
    """Records of all kinds, and at the end a source that fails."""
    for row in range(count):
        kinds = ({"id": row, "content": SNIPPET}, RecordError(Status.INVALID, "broken"), None)
        yield Record(row, kinds[row % 3], 0, source=1, index=row + 5)
    raise OSError("the disk is gone")


def _until_it_fails(rows: Iterator[Row]) -> list[Row]:
    found: list[Row] = []
    with suppress(OSError):
        for row in rows:
            found.append(row)
        raise AssertionError("the source did not fail")
    return found


def test_processes_give_the_rows_of_threads_in_order_until_the_source_fails() -> None:
    panel = Panel(["uplifting"], threads=1)
    found = _until_it_fails(score_in_processes(panel, _records(40), 2))
    assert len(found) == 40
    assert found == _until_it_fails(score_records(panel, _records(40)))


def test_ac23_a_worker_that_is_killed_costs_no_row(tmp_path: Path) -> None:
    records = [Record(row, SNIPPET, 0) for row in range(50)]
    records[20] = Record(20, Deadly(tmp_path / "died"), 0)
    rows = list(score_in_processes(Panel(["uplifting"], threads=1), records, 2))
    assert (tmp_path / "died").exists()
    assert [row.row for row in rows] == list(range(50))
    assert {row.status for row in rows} == {Status.OK}


def test_records_that_kill_every_worker_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_MOST_DEATHS", 2)
    deadly = Record(3, Deadly(None), 0)
    with pytest.raises(WorkerError, match=r"died 2 times while rows 3 to 3 .* fewer --workers"):
        list(score_in_processes(Panel(["uplifting"], threads=1), [deadly], 1))


@pytest.mark.slow
def test_workers_score_on_the_checkpoint_they_are_given(house: House) -> None:
    pytest.importorskip("peft")
    panel = Panel([Filter(add_expert(house), checkpoint=CHECKPOINT, threads=1, device="cpu")])
    (row,) = score_in_processes(panel, [Record(0, {"content": SNIPPET}, 0)], workers=1)
    (here,) = score_records(panel, [Record(0, {"content": SNIPPET}, 0)])
    score, local = row.scores["uplifting"], here.scores["uplifting"]
    assert (score.stage, score.provenance) == ("expert", local.provenance)
    assert score.weighted_average == pytest.approx(local.weighted_average, abs=1e-4)
    panel.filters[0].unload()
