"""What questions will cost before they are asked, and who is told what they have cost since."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from distilled_filters.training.oracle.calls import Spending
from distilled_filters.training.oracle.client import Oracle, Question
from distilled_filters.training.oracle.providers import Usage

__all__ = ["Estimate", "Progress", "estimate"]

Progress = Callable[[Spending, bool], None]
"""Called after every question with what was spent in all, and whether it was answered."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job is about to do; dollars are None where nobody said what a model costs."""

    calls: int = 0
    stored: int = 0
    """Questions that have their answer already."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0
    usd_at_most: float | None = 0.0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.calls + other.calls, self.stored + other.stored,
            self.prompt_tokens + other.prompt_tokens, self.output_tokens + other.output_tokens,
            _sum(self.usd, other.usd), _sum(self.usd_at_most, other.usd_at_most),
        )  # fmt: skip


def estimate(oracle: Oracle, questions: Iterable[Question[Any]], output_tokens: int, share: float = 1.0) -> Estimate:
    """Say what questions will cost at a share of the price, with about so many tokens an answer.

    Those in the journal cost nothing.
    """
    calls = stored = prompt = 0
    usd_at_most = 0.0
    for question in questions:
        request = oracle.request(question)
        if request is None:
            stored += 1
            continue
        calls += 1
        prompt += oracle.expected_tokens(question)
        usd_at_most += share * oracle.usd_at_most(request[1])
    output, prices = output_tokens * calls, oracle.endpoint.prices
    if prices is None:
        return Estimate(calls, stored, prompt, output, None, None)
    return Estimate(
        calls, stored, prompt, output, share * prices.cost(Usage(prompt=prompt, output=output)), usd_at_most
    )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
