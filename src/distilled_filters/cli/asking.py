"""What commands share that ask a list of questions: the cost told, agreed on, and watched."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import typer

from distilled_filters.cli.errors import fail
from distilled_filters.errors import SettingError

if TYPE_CHECKING:
    from distilled_filters.training.oracle.costs import Estimate
    from distilled_filters.training.oracle.providers import Endpoint

__all__ = ["agreed"]


class _Work(Protocol):
    @property
    def questions(self) -> int: ...

    def estimate(self) -> Estimate: ...


@contextmanager
def agreed(
    work: _Work, oracles: Sequence[Endpoint], budget: float | None, *, yes: bool
) -> Iterator[Callable[[Any, bool], None]]:
    """Tell what work will cost, ask whether to go on, and show a bar; yields what counts a question.

    Raises:
        SettingError: when it costs money and nobody can be asked.
        KeyboardInterrupt: with what becomes of the work.
    """
    estimate = work.estimate()
    _announce(estimate, oracles, budget)
    _agree(estimate, budget, yes=yes)
    try:
        with _Bar(work.questions, budget) as bar:
            yield bar.step
    except KeyboardInterrupt:
        raise KeyboardInterrupt("what was paid for is kept, and the same command goes on") from None


def _announce(estimate: Estimate, oracles: Sequence[Endpoint], budget: float | None) -> None:
    from distilled_filters.cli.terminal import notes, plain

    lines = [
        f"{estimate.calls:,} questions to ask, {estimate.stored:,} answered before; about "
        f"{estimate.prompt_tokens:,} tokens in and {estimate.output_tokens:,} out, without thinking and repairs"
    ]
    if estimate.usd is None:
        lines.append("no prices for this model: give --price-in and --price-out to see the cost")
    elif estimate.usd_at_most:
        dates = sorted({each.prices.looked_up for each in oracles if each.prices and each.prices.looked_up})
        source = f"; prices {', '.join('as given' if date == 'given' else f'of {date}' for date in dates)}"
        within = f"; budget ${budget:g}" if budget is not None else ""
        lines.append(
            f"about ${estimate.usd:.4f}; every answer at its full length would be ${estimate.usd_at_most:.4f}"
            f"{source if dates else ''}{within}"
        )
    for line in lines:
        notes().print(plain(line), soft_wrap=True)


def _agree(estimate: Estimate, budget: float | None, *, yes: bool) -> None:
    """Ask a person before money is spent; a program has to say --yes, or to name a budget.

    Raises:
        SettingError: when nobody can be asked.
        typer.Exit: when the person says no.
    """
    if yes or not estimate.calls or estimate.usd_at_most == 0:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        if not typer.confirm("Go on?", err=True):
            fail("nothing was asked", label="")
    elif budget is None:
        raise SettingError("this costs money and nobody can be asked: say --yes, or name a --budget")


class _Bar:
    """The progress of a job on stderr, where that is a terminal: questions, failures, running cost."""

    def __init__(self, questions: int, budget: float | None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from distilled_filters.cli.terminal import notes

        self._of = f" of ${budget:g}" if budget is not None else ""
        self._failed = 0
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]} failed"),
            TextColumn("{task.fields[cost]}"),
            TimeRemainingColumn(),
            console=notes(),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("", total=questions or None, failed=0, cost="")

    def step(self, spending: Any, answered: bool) -> None:
        self._failed += not answered
        self._progress.update(self._task, advance=1, failed=self._failed, cost=f"${spending.usd:.4f}{self._of}")

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
