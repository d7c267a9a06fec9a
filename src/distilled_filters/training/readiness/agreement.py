"""How well the oracle agrees with itself, chance taken off."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from sklearn.metrics import cohen_kappa_score

from distilled_filters.decision import verdict
from distilled_filters.spec import LensSpec
from distilled_filters.training.prepare.labels import readings_of, self_agreement
from distilled_filters.training.prepare.rows import Run

__all__ = ["agreement"]


def agreement(runs: Sequence[Sequence[Run]], lens: LensSpec) -> dict[str, Any] | None:
    """Return the data card's figures and `tier_kappa`, or None where no article was read twice.

    Most articles are out of most scopes, so that readings agree on nearly all tiers whatever
    the oracle is worth. `tier_kappa` is Cohen's kappa with linear weights (Cohen, 1968) over all
    pairs of readings: 0 is chance, 1 is whole agreement; None where only one tier occurs.
    """
    found = self_agreement(runs, lens)
    if found is None:
        return None
    tiers = [tier.name for tier in lens.tiers]
    pairs = [
        (tiers.index(verdict(one, lens)[1]), tiers.index(verdict(other, lens)[1]))
        for each in runs
        for one, other in combinations(readings_of(each, lens), 2)
    ]
    occurring = {tier for pair in pairs for tier in pair}
    kappa = None
    if len(occurring) > 1:
        first, second = zip(*pairs, strict=True)
        kappa = round(float(cohen_kappa_score(first, second, labels=range(len(tiers)), weights="linear")), 4)
    return {**found, "tier_kappa": kappa}
