"""The three ways a scoring run can go: into a file, into a pipe, onto a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from distilled_filters.cli.meter import Meter
from distilled_filters.cli.score_table import score_table
from distilled_filters.cli.terminal import notes, screen, write_text
from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.formats import FORMATS, TextFormat
from distilled_filters.corpus.parts import SHARD_ROWS, Parts, Tally, manifest, tally_of
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.scoring import score_records
from distilled_filters.corpus.sources import STANDARD_INPUT, Source, read_corpus
from distilled_filters.panel import Panel

__all__ = ["Run", "to_file", "to_stream", "to_table"]

# A table is printed by so many articles, so that it is never held as a whole.
_PAGE_ROWS = 1000


@dataclass
class Run:
    """What is scored by which filters."""

    sources: Sequence[Source]
    panel: Panel
    started: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int | None:
        """Bytes of all inputs; None where standard input is among them."""
        sizes = [source.size for source in self.sources]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def rows(self, meter: Meter, skip: int = 0) -> Iterator[Row]:
        """Score all records after the first `skip`."""
        return score_records(self.panel, meter.counted(islice(read_corpus(self.sources), skip, None)))

    def summary(self, tally: Tally, before: int = 0) -> str:
        """Say in one line how the run went; `before` rows were done by an earlier one."""
        seconds = time.monotonic() - self.started
        rate = (tally.total() - before) / seconds if seconds else 0.0
        counts = ", ".join(f"{count:,} {status}" for status, count in tally.most_common()) or "nothing to score"
        earlier = f" ({before:,} of them by an earlier run)" if before else ""
        articles = "article" if tally.total() == 1 else "articles"
        return f"{tally.total():,} {articles}{earlier} in {seconds:.1f} s ({rate:,.0f}/s): {counts}"


def to_file(run: Run, output: Path, form: str, *, resume: bool, force: bool) -> Tally:
    """Score into a file by way of resumable parts.

    Raises:
        CorpusError: when the output cannot be begun, resumed or written.
    """
    names = [source.name for source in run.sources]
    if resume and STANDARD_INPUT in names:
        raise CorpusError("standard input cannot be read a second time; save it to a file to use --resume")
    if not output.parent.is_dir():
        raise CorpusError(f"there is no folder {output.parent} to write {output.name} to")
    if output.exists() and any(name != STANDARD_INPUT and output.samefile(name) for name in names):
        raise CorpusError(f"{output} is an input too; name another output")
    writer = FORMATS[form](run.panel.filters)
    parts = Parts(output, writer, manifest(run.sources, run.panel.filters, form), shard_rows=SHARD_ROWS)
    with closing(parts):
        parts.begin(resume=resume, force=force)
        before = parts.tally.total()
        try:
            with Meter(run.size) as meter:
                parts.write(run.rows(meter, skip=parts.rows_done))
        except KeyboardInterrupt:
            kept = f"{parts.tally.total():,} rows are kept in {parts.folder}"
            raise KeyboardInterrupt(kept if STANDARD_INPUT in names else f"{kept}; go on with --resume") from None
        parts.finish()
    notes().print(f"{run.summary(parts.tally, before)}; wrote {output}", soft_wrap=True)
    return parts.tally


def to_stream(run: Run, form: str) -> Tally:
    """Score onto standard output, a line a row."""
    writer = FORMATS[form](run.panel.filters)
    if not isinstance(writer, TextFormat):
        raise TypeError(f"{form} is no text format; choose_format lets none through")
    tally = Tally()
    # A bar would run through the rows where both go to one terminal.
    with Meter(run.size, shown=not sys.stdout.isatty()) as meter:
        write_text(writer.header)
        for row in run.rows(meter):
            write_text(writer.encode(row))
            tally += tally_of([row])
    notes().print(run.summary(tally), style="dim", soft_wrap=True)
    return tally


def to_table(run: Run) -> Tally:
    """Score onto the terminal, as a table."""
    tally = Tally()
    console = screen()
    with Meter(run.size) as meter:
        rows = run.rows(meter)
        while page := list(islice(rows, _PAGE_ROWS)):
            tally += tally_of(page)
            meter.pause()
            console.print(score_table(page, run.panel.filters, console.width))
            meter.go_on()
    console.print(run.summary(tally), style="dim")
    return tally
