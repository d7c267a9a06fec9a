"""What commands share that ask a list of questions: the cost told, agreed on, and watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from distilled_filters.cli.label import _agree, _announce, _Bar

if TYPE_CHECKING:
    from distilled_filters.training.oracle.label import Estimate
    from distilled_filters.training.oracle.providers import Endpoint

__all__ = ["agreed"]


class _Work(Protocol):
    @property
    def questions(self) -> int: ...

    def estimate(self) -> Estimate: ...


@contextmanager
def agreed(work: _Work, oracle: Endpoint, budget: float | None, *, yes: bool) -> Iterator[Callable[[Any, bool], None]]:
    """Tell what work will cost, ask whether to go on, and show a bar; yields what counts a question.

    Raises:
        SettingError: when it costs money and nobody can be asked.
    """
    estimate = work.estimate()
    _announce(estimate, [oracle], budget)
    _agree(estimate, budget, yes=yes)
    labelling: Any = work  # the bar asks for nothing but the number of questions
    with _Bar(labelling, budget) as bar:
        yield bar.step
