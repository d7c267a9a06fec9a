"""The progress bar of a run over a corpus, on stderr where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from distilled_filters.cli.terminal import notes
from distilled_filters.corpus.sources import Record

__all__ = ["Meter"]


class Meter:
    """Counts the records that pass; the bar fills by bytes read of `total`, None where nobody knows."""

    def __init__(self, total: int | None, *, shown: bool = True) -> None:
        """Set the bar up; it shows once the context is entered, where stderr is a terminal."""
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(),
            TextColumn("{task.fields[articles]:,} articles"),
            TextColumn("{task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
            console=notes(),
            transient=True,
            disable=not (shown and sys.stderr.isatty()),
        )
        self._task = self._progress.add_task("", total=total, articles=0, rate=0.0)

    def counted(self, records: Iterable[Record]) -> Iterator[Record]:
        """Pass records on and move the bar with them."""
        for count, record in enumerate(records, start=1):
            rate = count / (self._progress.tasks[0].elapsed or 1.0)
            self._progress.update(self._task, completed=record.position, articles=record.row + 1, rate=rate)
            yield record

    def pause(self) -> None:
        """Take the bar away, so that something else can be written."""
        self._progress.stop()

    def go_on(self) -> None:
        """Show the bar again."""
        self._progress.start()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
