"""From label rows to the runs of each article, and how well the readings agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, zip_longest
from typing import Any

import numpy as np

from distilled_filters.decision import verdict
from distilled_filters.spec import LensSpec
from distilled_filters.training.prepare.rows import LabelRow, Run

__all__ = [
    "in_scope",
    "judged_lenses",
    "mean_scores",
    "merge_runs",
    "readings_of",
    "self_agreement",
    "without_replaced",
]


def judged_lenses(labels: Sequence[LabelRow], lenses: Mapping[str, LensSpec]) -> list[str]:
    """Return the lenses that every article must be labelled for: those of which some row says anything.

    A whole run speaks of every lens but those it has as null: one that it leaves out was out of scope.
    """
    return [name for name in lenses if any(_says(row, name) for row in labels)]


def without_replaced(labels: Sequence[LabelRow], by: Sequence[LabelRow], lenses: Iterable[str]) -> list[LabelRow]:
    """Return labels without their readings of the articles and lenses that other labels speak of."""
    names = list(lenses)
    replaced: dict[str, set[str]] = defaultdict(set)
    for row in by:
        replaced[row.id].update(name for name in names if _says(row, name))
    kept = []
    for row in labels:
        nothing = dict.fromkeys(replaced.get(row.id, ()))
        rest = row if row.lens else replace(row, runs=tuple(run | nothing for run in row.runs))
        if row.lens not in nothing and (row.lens or any(_says(rest, name) for name in names)):
            kept.append(rest)
    return kept


def _says(row: LabelRow, name: str) -> bool:
    return row.lens == name if row.lens else any(run.get(name, ()) is not None for run in row.runs)


def merge_runs(rows: Sequence[LabelRow], lenses: Mapping[str, LensSpec]) -> list[Run]:
    """Return one article's readings; readings of single lenses are laid side by side.

    A lens that such a reading did not judge is None: it was not out of scope.
    """
    whole = [run for row in rows if row.lens is None for run in row.runs]
    single: dict[str, list[list[float] | None]] = defaultdict(list)
    for row in rows:
        if row.lens is not None:
            single[row.lens].extend(run[row.lens] for run in row.runs)
    beside = [dict(zip(single, scores, strict=True)) for scores in zip_longest(*single.values())]
    return whole + [{name: run.get(name) for name in lenses} for run in beside]


def readings_of(runs: Sequence[Run], lens: LensSpec) -> list[list[float]]:
    """Return the readings that judged a lens; out of scope is all zeros."""
    zeros = [0.0] * len(lens.dimensions)
    return [scores for run in runs if (scores := run.get(lens.name, zeros)) is not None]


def mean_scores(runs: Sequence[Run], lens: LensSpec) -> list[float] | None:
    """Return the mean dimensions over the readings, 0-10; None where no reading judged the lens."""
    readings = readings_of(runs, lens)
    return np.mean(readings, axis=0).tolist() if readings else None


def in_scope(dimensions: Sequence[float]) -> bool:
    """Say whether at least one reading put the article in scope."""
    return any(score > 0 for score in dimensions)


def self_agreement(runs: Sequence[Sequence[Run]], lens: LensSpec) -> dict[str, Any] | None:
    """Compare the readings of articles that have two or more; None where there is no such article.

    `average_mae` is the mean absolute difference of weighted averages, 0-10, over all
    pairs of readings; the other two are the shares of pairs that agree on tier and scope.
    """
    differences, tiers, scopes = [], [], []
    articles = 0
    for each in runs:
        readings = readings_of(each, lens)
        articles += len(readings) > 1
        for one, other in combinations(readings, 2):
            (first, first_tier), (second, second_tier) = verdict(one, lens), verdict(other, lens)
            differences.append(abs(first - second))
            tiers.append(first_tier == second_tier)
            scopes.append(in_scope(one) == in_scope(other))
    if not differences:
        return None
    return {
        "articles": articles,
        "average_mae": round(float(np.mean(differences)), 4),
        "tier_agreement": round(float(np.mean(tiers)), 4),
        "scope_agreement": round(float(np.mean(scopes)), 4),
    }
