"""When a cascade asks its expert: ranges of the student's weighted average, fitted to a stated goal.

On each side of each tier's boundary, the chance that student and expert name different tiers
falls with the distance from it: a decreasing isotonic fit of what was seen. The expert is asked
where that risk is highest, about the least share of articles that still meets the goal on
articles that the fits have not seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise, repeat

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from distilled_filters.errors import DistilledFiltersError
from distilled_filters.spec import LensSpec

__all__ = ["FOLDS", "Band", "Cases", "Goal", "GoalError", "fit_route", "held_out", "measured", "routed"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Band = tuple[float, float]
Measured = dict[str, float]

FOLDS = 5
_SHARES = np.linspace(0, 1, 201)


class GoalError(DistilledFiltersError, ValueError):
    """No cascade of this student and this expert meets the goal; the message says what was reached."""


@dataclass(frozen=True)
class Goal:
    """What a cascade must keep of its expert: the share of its tiers, and of its articles of medium and above."""

    agreement: float = 0.985
    recall: float = 0.95

    def is_met(self, found: Measured) -> bool:
        """Tell whether figures of a cascade reach both."""
        return found["tier_agreement"] >= self.agreement and found["medium_recall"] >= self.recall


@dataclass(frozen=True)
class Cases:
    """How the two answer the same articles, (n,) each: weighted averages, what a first look ended, and a fold.

    Articles of one cluster share a fold, 0 to `FOLDS` - 1.
    """

    student: FloatArray
    expert: FloatArray
    screened: BoolArray
    folds: npt.NDArray[np.int64]

    def where(self, members: BoolArray) -> Cases:
        """Return some of them."""
        return Cases(*(getattr(self, each.name)[members] for each in fields(self)))


def measured(cases: Cases, asked: BoolArray, spec: LensSpec) -> Measured:
    """Return what a cascade keeps of its expert, and the share of articles that reach it.

    Recall is 1 where the expert puts no article at medium or above.
    """
    decided = np.where(asked, cases.expert, cases.student)
    positive = cases.expert >= spec.medium
    return {
        "tier_agreement": float((_tiers(decided, spec) == _tiers(cases.expert, spec)).mean()),
        "medium_recall": float((decided[positive] >= spec.medium).mean()) if positive.any() else 1.0,
        "expert_share": float(asked.mean()),
    }


def fit_route(cases: Cases, spec: LensSpec, goal: Goal) -> list[Band]:
    """Return the ranges, both ends in them, that meet the goal with the least asking.

    Raises:
        GoalError: when asking about all that the first look lets pass does not meet it.
    """
    whole = _Risk(cases, spec)
    seen = [(cases.folds == fold) for fold in np.unique(cases.folds)]
    risks = [(members, _Risk(cases.where(~members), spec)) for members in seen if not members.all()]
    for share in _SHARES:
        ask = whole.highest(share)
        outside = np.zeros(len(cases.student), dtype=bool)
        for members, risk in risks:
            outside[members] = _asked(risk.highest(share), cases.where(members))
        if all(goal.is_met(measured(cases, asked, spec)) for asked in (outside, _asked(ask, cases))):
            return ask
    best = measured(cases, ~cases.screened, spec)
    if goal.is_met(best):
        return [(0.0, 10.0)]
    raise GoalError(
        f"the student's first look ends {cases.screened.sum()} of {len(cases.screened)} articles, and with all others "
        f"asked about the cascade reaches {_words(best)}, not {goal.agreement:g} and {goal.recall:g}; set lower goals, "
        "or a lower screen"
    )


def held_out(cases: Cases, spec: LensSpec, goal: Goal) -> Measured:
    """Return figures on articles that chose nothing: each fold is routed as fitted to the others.

    Raises:
        GoalError: when the others alone cannot meet the goal.
    """
    asked = np.zeros(len(cases.student), dtype=bool)
    for fold in np.unique(cases.folds):
        members = cases.folds == fold
        asked[members] = _asked(fit_route(cases.where(~members), spec, goal), cases.where(members))
    return measured(cases, asked, spec)


def routed(cases: Cases, bands: Sequence[Band], spec: LensSpec) -> Measured:
    """Return figures of given ranges."""
    return measured(cases, _asked(bands, cases), spec)


class _Risk:
    """The chance of another tier by the student's average: a fit for each side of each boundary."""

    def __init__(self, cases: Cases, spec: LensSpec) -> None:
        differ = _tiers(cases.student, spec) != _tiers(cases.expert, spec)
        self._count = len(differ)
        found: list[tuple[float, float, float, float]] = []
        for boundary, low, high in _sides(spec):
            members = ~cases.screened & (cases.student >= low) & (cases.student < high)
            if members.any():
                averages = cases.student[members]
                distances = np.abs(averages - boundary)
                fitted = IsotonicRegression(increasing=False).fit(distances, differ[members])
                found += zip(-fitted.predict(distances), distances, averages, repeat(boundary), strict=False)
        # The riskiest first; of equal risks the nearest.
        self._reaches = [(float(average), boundary) for _, _, average, boundary in sorted(found)]

    def highest(self, share: float) -> list[Band]:
        """Return the ranges that hold this share of all articles, where the risk is highest; rounded outwards."""
        reached = self._reaches[: round(share * self._count)]
        return _merged([(math.floor(min(ends) * 1e4) / 1e4, math.ceil(max(ends) * 1e4) / 1e4) for ends in reached])


def _sides(spec: LensSpec) -> Iterator[tuple[float, float, float]]:
    """Yield each boundary with the range below it and the one above; neighbours meet half way."""
    bounds = sorted(tier.at_least for tier in spec.tiers if tier.at_least > 0)
    ends = [0.0, *((low + high) / 2 for low, high in pairwise(bounds)), math.inf]
    for boundary, (low, high) in zip(bounds, pairwise(ends), strict=True):
        yield boundary, low, boundary
        yield boundary, boundary, high


def _merged(bands: Sequence[Band]) -> list[Band]:
    merged: list[Band] = []
    for low, high in sorted(bands):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return [(max(low, 0.0), min(high, 10.0)) for low, high in merged]


def _asked(bands: Sequence[Band], cases: Cases) -> BoolArray:
    found = np.zeros(len(cases.student), dtype=bool)
    for low, high in bands:
        found |= (low <= cases.student) & (cases.student <= high)
    return found & ~cases.screened


def _tiers(averages: FloatArray, spec: LensSpec) -> npt.NDArray[np.int64]:
    return np.searchsorted([tier.at_least for tier in reversed(spec.tiers)], averages, side="right")


def _words(found: Measured) -> str:
    return f"a tier agreement of {found['tier_agreement']:.3f} and a recall of {found['medium_recall']:.3f}"
