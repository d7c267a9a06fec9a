"""What all engines share: a job that any worker can take up, and batches that get columns of scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import distilled_filters
from distilled_filters.article import CONTENT_KEYS, TITLE_KEYS
from distilled_filters.checkpoints import sha256_of
from distilled_filters.columns import Cell, score_cells, score_columns
from distilled_filters.errors import MissingExtraError, SettingError
from distilled_filters.filter import Filter
from distilled_filters.panel import Panel

__all__ = ["BATCH_ROWS", "Scoring", "missing_extra"]

# Rows scored and held at once: some seconds of work, so that progress shows and memory stays small.
BATCH_ROWS = 256

Batch = TypeVar("Batch")

# The panels this process has opened: however many tasks an engine gives a worker, it loads once.
_panels: dict[tuple[object, ...], Panel] = {}


class Scoring:
    """Which filters score which columns: made where a job begins, pickled to its workers, opened once in each.

    Args:
        filters: Filters or requirements such as `"uplifting==1.*"`; None for all installed.
        title: The column of titles; None for `title` or `headline`, where there is one.
        content: The column of texts; None for `content`, `text` or `body`.
        threads: Articles scored at once, as for `Filter`.
        fetch: Whether `open` downloads what a Hub filter lacks on this machine.

    Raises:
        DistilledFiltersError: when the filters cannot be found or used together.
    """

    def __init__(
        self,
        filters: Iterable[Filter | str] | None = None,
        *,
        title: str | None = None,
        content: str | None = None,
        threads: int | None = None,
        fetch: bool = False,
    ) -> None:
        """Resolve the filters; weights are opened where articles are scored."""
        self.filters = (Panel.all() if filters is None else Panel(filters)).filters
        self.columns = score_columns(self.filters)
        self._title, self._content, self._threads, self._fetch = title, content, threads, fetch
        # Pickled along, so that workers and engines' caches tell one build of a filter from another.
        self._builds = _builds(self.filters)

    @classmethod
    def for_workers(cls, filters: Iterable[Filter | str] | None, *, title: str | None, content: str | None) -> Scoring:
        """Return a job for engines that run a process a processor, on machines that may lack a filter's files.

        Workers of one machine share the Hub's cache: one downloads, the others wait for its lock.
        """
        return cls(filters, title=title, content=content, threads=1, fetch=True)

    def open(self) -> Panel:
        """Return the opened panel of this process; only its first call loads weights.

        Raises:
            SettingError: when this worker has other filters than where the job began.
            CheckpointError: when any filter does not open; a job must not fill a table with errors.
        """
        key = (self._builds, self._threads)
        if key not in _panels:
            for here, there in zip(_builds(self.filters), self._builds, strict=True):
                if here != there:
                    raise SettingError(
                        f"this worker has {here}, but the job began with {there}; "
                        "install the same distilled-filters on all machines"
                    )
            for each in self.filters:
                if self._fetch:
                    each.prefetch()
                each.load()
            _panels[key] = Panel(self.filters, threads=self._threads).load()
        return _panels[key]

    def inputs(self, columns: Iterable[str]) -> dict[str, str]:
        """Return which columns of a table are read, each with the key of an article it stands for.

        Raises:
            SettingError: when the table has no texts, lacks a column that was named, or
                has columns of these scores already.
        """
        names = list(columns)
        if taken := [name for name in names if name in self.columns]:
            raise SettingError(
                f"the table has a column {taken[0]!r} already; drop or rename it, or score other filters"
            )
        found: dict[str, str] = {}
        for wanted, keys in ((self._title, TITLE_KEYS), (self._content, CONTENT_KEYS)):
            if wanted is None:
                found |= {key: key for key in keys if key in names}
            elif wanted in names:
                found[wanted] = keys[0]
            else:
                raise SettingError(f"the table has no column {wanted!r}, but {names}")
        if not set(found.values()) & set(CONTENT_KEYS):
            known = ", ".join(map(repr, CONTENT_KEYS))
            raise SettingError(f"the table has no texts in {known}, but {names}; name their column with content=...")
        return found

    def score(self, records: Iterable[object]) -> dict[str, list[Cell]]:
        """Return `{column: cells}` of articles in their order; a bad record has a status and no numbers."""
        columns: dict[str, list[Cell]] = {name: [] for name in self.columns}
        for scores in self.open().score_iter(records):
            cells: dict[str, Cell] = {}
            for score in scores.values():
                cells |= score_cells(score)
            for name, column in columns.items():
                column.append(cells.get(name))
        return columns

    def score_arrow(self, batch: Any) -> Any:
        """Return a `pyarrow` table or record batch with the columns of scores behind its own."""
        import pyarrow

        reads = self.inputs(batch.schema.names)
        articles = batch.select(list(reads)).rename_columns(list(reads.values())).to_pylist()
        types = {str: pyarrow.string(), float: pyarrow.float64()}
        for name, cells in self.score(articles).items():
            kind = types[self.columns[name]]
            batch = batch.append_column(pyarrow.field(name, kind), pyarrow.array(cells, kind))
        return batch

    def score_arrow_batches(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Score record batches one after the other, at most `BATCH_ROWS` rows at once."""
        for batch in batches:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield self.score_arrow(batch.slice(start, BATCH_ROWS))

    def __repr__(self) -> str:
        return f"<Scoring by {'; '.join(self._builds)}>"


def missing_extra(error: ImportError, extra: str) -> MissingExtraError:
    """Return the error that names the pip line for a library that is not installed."""
    return MissingExtraError(f"this needs {error.name}; install it with: pip install 'distilled-filters[{extra}]'")


def _builds(filters: Iterable[Filter]) -> tuple[str, ...]:
    """Tell builds of filters apart; the spec holds the digest of every file of a filter."""
    engine = distilled_filters.__version__
    return tuple(
        f"{each.name} {each.version}, checkpoint {each.checkpoint}, "
        f"filter.toml {sha256_of(each.folder / 'filter.toml')[:12]}, distilled-filters {engine}"
        for each in filters
    )
