"""How well oracles agree with each other, and each with itself over its runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from distilled_filters.decision import verdict
from distilled_filters.spec import LensSpec

__all__ = ["agreement", "disagreements", "scores_by_oracle"]

Scores = list[float]


def scores_by_oracle(readings: Iterable[Mapping[str, Any]], lens: LensSpec) -> dict[str, dict[str, list[Scores]]]:
    """Return every oracle's readings by article, scores in the spec's order."""
    found: dict[str, dict[str, list[Scores]]] = defaultdict(lambda: defaultdict(list))
    for row in readings:
        found[row["oracle"]][row["id"]].append([row["dimensions"][name] for name in lens.dimension_names])
    return {oracle: dict(articles) for oracle, articles in sorted(found.items())}


def agreement(readings: Iterable[Mapping[str, Any]], lens: LensSpec) -> list[dict[str, Any]]:
    """Compare every pair of oracles on the articles both read, and every oracle's runs with each other.

    Runs are averaged before oracles are compared. Where `oracles` names one, the pairs are
    those of its own runs. Figures: mean absolute errors on the 0-10 scale, Pearson
    correlations (None where one side is constant), shares of pairs with the same tier and scope.
    """
    found = scores_by_oracle(readings, lens)
    results = []
    for oracle, articles in found.items():
        pairs = [pair for runs in articles.values() for pair in combinations(runs, 2)]
        if pairs:
            results.append({"oracles": [oracle], **_figures(pairs, lens)})
    for one, other in combinations(found, 2):
        common = [id_ for id_ in found[one] if id_ in found[other]]
        if common:
            results.append({
                "oracles": [one, other],
                **_figures([(_mean(found[one][id_]), _mean(found[other][id_])) for id_ in common], lens),
            })  # fmt: skip
    return results


def disagreements(
    readings: Iterable[Mapping[str, Any]], lens: LensSpec, at_least: float
) -> dict[str, tuple[tuple[str, Scores], tuple[str, Scores]]]:
    """Return the articles on which two oracles differ in tier, or by `at_least` in the weighted average.

    Of several oracles, the two that are farthest apart; each with the mean of its runs.
    """
    found = scores_by_oracle(readings, lens)
    means: dict[str, list[tuple[str, Scores]]] = defaultdict(list)
    for oracle, articles in found.items():
        for id_, runs in articles.items():
            means[id_].append((oracle, _mean(runs)))
    apart = {}
    for id_, sides in means.items():
        ordered = sorted(sides, key=lambda side: verdict(side[1], lens)[0])
        (low, low_tier), (high, high_tier) = verdict(ordered[0][1], lens), verdict(ordered[-1][1], lens)
        if len(ordered) > 1 and (low_tier != high_tier or high - low >= at_least):
            apart[id_] = (ordered[0], ordered[-1])
    return apart


def _figures(pairs: Sequence[tuple[Scores, Scores]], lens: LensSpec) -> dict[str, Any]:
    left, right = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    verdicts = [(verdict(one, lens), verdict(other, lens)) for one, other in pairs]
    averages = np.array([(one[0], other[0]) for one, other in verdicts])
    return {
        "pairs": len(pairs),
        "average_mae": round(float(np.mean(np.abs(averages[:, 0] - averages[:, 1]))), 4),
        "average_correlation": _correlation(averages[:, 0], averages[:, 1]),
        "tier_agreement": round(float(np.mean([one[1] == other[1] for one, other in verdicts])), 4),
        "scope_agreement": round(float(np.mean(left.any(axis=1) == right.any(axis=1))), 4),
        "dimensions": {
            name: {
                "mae": round(float(np.mean(np.abs(left[:, column] - right[:, column]))), 4),
                "correlation": _correlation(left[:, column], right[:, column]),
            }
            for column, name in enumerate(lens.dimension_names)
        },
    }


def _correlation(left: Any, right: Any) -> float | None:
    if len(left) < 2 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return round(float(np.corrcoef(left, right)[0, 1]), 4)


def _mean(runs: Sequence[Scores]) -> Scores:
    mean: Scores = np.mean(runs, axis=0).tolist()
    return mean
