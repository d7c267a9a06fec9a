"""The three ways a scoring run can show itself: by files, in a pipe, on a terminal."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import islice

from distilled_filters.cli.meter import Meter
from distilled_filters.cli.score_table import score_table, statistics_table
from distilled_filters.cli.terminal import notes, screen, write_json, write_text
from distilled_filters.corpus.formats import FORMATS, TextFormat
from distilled_filters.corpus.outputs import Output
from distilled_filters.corpus.run import Outcome, Run

__all__ = ["show_warning", "to_output", "to_stream", "to_table"]

# A table is printed by so many articles, so that it is never held as a whole.
_PAGE_ROWS = 1000


def to_output(run: Run, output: Output, *, resume: bool, force: bool, as_json: bool) -> Outcome:
    """Score into files by way of resumable parts; show statistics, or print them for programs.

    Raises:
        CorpusError: when the output cannot be begun, resumed or written.
    """
    with Meter(_size(run)) as meter:
        outcome = _watched(run, meter).write(output, resume=resume, force=force)
    if as_json:
        write_json(outcome.to_dict())
        return outcome
    if outcome.statistics.rows:
        notes().print(statistics_table(outcome.statistics, run.filters))
    notes().print(f"{_summary(outcome)}; wrote {output.place.name}", soft_wrap=True)
    return outcome


def to_stream(run: Run, form: str) -> Outcome:
    """Score onto standard output, a line a row."""
    writer = FORMATS[form](run.filters)
    if not isinstance(writer, TextFormat):
        raise TypeError(f"{form} is no text format; choose_format lets none through")
    outcome = Outcome()
    # A bar would run through the rows where both go to one terminal.
    with Meter(_size(run), shown=not sys.stdout.isatty()) as meter:
        write_text(writer.header)
        for row in _watched(run, meter).rows(outcome):
            write_text(writer.encode(row))
            outcome.statistics.count(row)
    outcome.end()
    notes().print(_summary(outcome), style="dim", soft_wrap=True)
    return outcome


def to_table(run: Run) -> Outcome:
    """Score onto the terminal, as a table."""
    outcome = Outcome()
    console = screen()
    with Meter(_size(run)) as meter:
        rows = _watched(run, meter).rows(outcome)
        while page := list(islice(rows, _PAGE_ROWS)):
            for row in page:
                outcome.statistics.count(row)
            meter.pause()
            console.print(score_table(page, run.filters, console.width))
            meter.go_on()
    outcome.end()
    console.print(_summary(outcome), style="dim")
    return outcome


def show_warning(text: str) -> None:
    """Tell something that does not stop the run."""
    notes().print(f"warning: {text}", style="yellow", soft_wrap=True)


def _watched(run: Run, meter: Meter) -> Run:
    """Return the run with its bar, and with warnings of inputs that cannot be read."""
    return replace(run, watch=meter.counted, tell=lambda problem: show_warning(problem.message))


def _size(run: Run) -> int | None:
    """Return the bytes of all inputs; None where that of one is not known."""
    sizes = [source.size for source in run.sources]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _summary(outcome: Outcome) -> str:
    """Say in one line how the run went."""
    statistics = outcome.statistics
    counts = ", ".join(f"{count:,} {status}" for status, count in statistics.statuses.most_common())
    earlier = f" ({outcome.earlier:,} of them by an earlier run)" if outcome.earlier else ""
    articles = "article" if statistics.rows == 1 else "articles"
    ok = statistics.statuses["ok"]
    cut = f"; {statistics.truncated / ok:.0%} of those scored were truncated" if ok else ""
    return (
        f"{statistics.rows:,} {articles}{earlier} in {outcome.seconds:.1f} s ({outcome.rate:,.0f}/s): "
        f"{counts or 'nothing to score'}{cut}"
    )
