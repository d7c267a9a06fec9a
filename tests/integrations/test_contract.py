"""AC25: whichever engine runs, the scores are the local ones, a worker loads once, and the schema is fixed."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pytest

from distilled_filters.columns import score_cells, score_columns
from distilled_filters.integrations import batches
from distilled_filters.panel import Panel
from tests.conftest import ROOT, UNREADABLE, mixed_articles
from tests.integrations.adapters import ADAPTERS, INPUT, MODULES, Adapter
from tests.integrations.watch.sitecustomize import LOG

pytestmark = [
    # What these libraries say of their own insides and of one another.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore:The minimum number of concurrent actors:UserWarning:ray"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]

FILTERS = ["uplifting", "belonging"]
WATCH = Path(__file__).with_name("watch")
SLOW = {"datasets_processes", "datatrove", "ray", "spark"}
SCORES = score_columns(Panel(FILTERS).filters)
BAD = [None, "<p></p>", "too short", "!!!", UNREADABLE["Chinese"]]


def articles(count: int, bad: bool = True) -> pyarrow.Table:
    """Articles that an encoder has work with, every fifth of them bad, with ids that tell their order."""
    rows = mixed_articles(count, shortest=30, longest=120)
    for number, row in enumerate(rows):
        row["id"] = number
        if bad and number % 5 == 3:
            row |= {"title": None, "content": BAD[number // 5 % len(BAD)]}
    return pyarrow.Table.from_pylist(rows, INPUT)


def local_scores(table: pyarrow.Table, filters: Sequence[str], missing: str | None = None) -> list[dict[str, object]]:
    """What `Panel.score` says of each row, in the columns of the engines."""
    panel = Panel(filters, threads=1)
    rows = []
    for row in table.to_pylist():
        row["content"] = row["content"] or missing
        cells: dict[str, object] = dict.fromkeys(score_columns(panel.filters))
        for score in panel.score(row).values():
            cells |= score_cells(score)
        rows.append(cells)
    return rows


def kind_of(field: pyarrow.DataType) -> type:
    return float if pyarrow.types.is_float64(field) else str


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in ADAPTERS],
)
def adapter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapter]:
    """One engine after the other, each started once."""
    library = MODULES.get(request.param, request.param)
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed; pip install 'distilled-filters[{request.param}]'")
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(WATCH), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        patch.setenv(LOG, str(folder / "opened"))
        engine = ADAPTERS[request.param](folder)
        yield engine
        engine.stop()


@dataclass(frozen=True)
class Run:
    """A run over good and bad articles in several parts, with what each process opened in it."""

    articles: pyarrow.Table
    scored: pyarrow.Table
    opened: Counter[str]


@pytest.fixture(scope="module")
def run(adapter: Adapter) -> Run:
    table = articles(40)
    with forgotten(adapter) as opened:
        scored = adapter.score(table, FILTERS, parts=6)
        if not adapter.has_workers:
            assert adapter.score(table, FILTERS).equals(scored)
    return Run(table, scored.sort_by("id"), Counter(opened.read_text().splitlines()))


@contextmanager
def forgotten(adapter: Adapter) -> Iterator[Path]:
    """Begin with no panel opened in this process; yields the file of what is opened from then on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_panels", {})
        log = adapter.folder / "opened"
        log.write_text("")
        yield log


def test_ac25_scores_are_the_local_ones_bit_for_bit(adapter: Adapter, run: Run) -> None:
    assert run.scored["id"].to_pylist() == list(range(40))
    expected = local_scores(run.articles, FILTERS, adapter.missing)
    assert run.scored.select(list(SCORES)).to_pylist() == expected
    statuses = {row["uplifting_status"] for row in expected}
    assert len(statuses) >= 4, "the articles must put nulls and bad records to the engine"


def test_ac25_a_worker_loads_its_filters_once(adapter: Adapter, run: Run) -> None:
    """Over several parts, or twice over all: each process opens each head once."""
    assert {line.split()[1] for line in run.opened} == set(FILTERS)
    assert set(run.opened.values()) == {1}, run.opened
    processes = {int(line.split()[0]) for line in run.opened}
    assert len(processes) <= 2
    assert adapter.has_workers == (os.getpid() not in processes)


def test_ac25_rows_keep_their_order(adapter: Adapter) -> None:
    if not adapter.keeps_order:
        pytest.skip("this engine promises no order; rows are told by their ids")
    table = articles(9, bad=False).take([3, 1, 4, 0, 5, 2, 6, 8, 7])
    assert adapter.score(table, FILTERS, parts=3)["id"].equals(table["id"])


@pytest.mark.parametrize("count", [12, 0])
def test_ac25_the_schema_is_fixed(adapter: Adapter, run: Run, count: int) -> None:
    """Where all articles are bad and where there are none, as where some are good."""
    if count == 0 and adapter.drops_empty:
        pytest.skip("this engine keeps no columns without rows; each batch has them, see test_batches")
    table = pyarrow.Table.from_pylist([{"id": number} for number in range(count)], INPUT)
    scored = adapter.score(table, FILTERS, parts=2)
    assert scored.num_rows == count
    assert set(scored["uplifting_status"].to_pylist()) <= {"invalid", "no_content"}
    assert scored["uplifting_weighted_average"].null_count == count
    for each in (run.scored, scored):
        assert each.column_names == [*INPUT.names, *SCORES]
        assert {field.name: kind_of(field.type) for field in each.schema if field.name in SCORES} == SCORES


def test_ac25_a_killed_worker_costs_no_row(adapter: Adapter) -> None:
    if not adapter.retries:
        pytest.skip("this engine does not start a killed worker anew; run the job again")
    # A filter that no worker has opened so far, so that its opening tells who is at work on this.
    table, filters, killed = articles(400, bad=False), ["nature_recovery"], []

    def kill(opened: Path) -> None:
        """Kill the first worker that has opened the filter, while it scores its first part."""
        while not (lines := opened.read_text().splitlines()):
            time.sleep(0.02)
        time.sleep(0.5)
        killed.append(int(lines[0].split()[0]))
        os.kill(killed[0], signal.SIGKILL)

    with forgotten(adapter) as opened:
        thread = threading.Thread(target=kill, args=(opened,), daemon=True)
        thread.start()
        scored = adapter.score(table, filters, parts=4).sort_by("id")
        thread.join(timeout=1)
        processes = {int(line.split()[0]) for line in opened.read_text().splitlines()}
    assert killed
    assert len(processes) >= 3, "another worker has taken the killed one's place"
    assert scored["id"].to_pylist() == list(range(400))
    expected = local_scores(table, filters)
    assert scored.select(list(expected[0])).to_pylist() == expected
