"""Figures of one method on one lens: pure functions of its answers and the oracle's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, cohen_kappa_score, ndcg_score, precision_recall_curve

from distilled_filters.calibration import Calibration
from distilled_filters.spec import LensSpec
from distilled_filters.training.predict import averages

__all__ = [
    "COUNTS",
    "FIGURES",
    "HEADLINES",
    "Figures",
    "Judged",
    "calibration_curve",
    "coverage",
    "dimension_figures",
    "figures",
    "judge",
    "lower_is_better",
    "means",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Figures = dict[str, float | None]

_TOP = 50
_CURVE_EDGES = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 10.0)


@dataclass(frozen=True)
class Judged:
    """One method's answers on one lens, 0-10: dimensions (n, d), gated averages (n,), a ranking by scope (n,)."""

    dimensions: FloatArray
    averages: FloatArray
    scope_ranking: FloatArray

    def subset(self, members: npt.NDArray[Any]) -> Judged:
        """Return the answers on some of the articles, by mask or by index."""
        return Judged(self.dimensions[members], self.averages[members], self.scope_ranking[members])

    @cached_property
    def in_scope(self) -> BoolArray:
        """Which articles have any dimension above zero, (n,)."""
        members: BoolArray = np.any(self.dimensions > 0, axis=1)
        return members


def judge(dimensions: FloatArray, spec: LensSpec, scope_ranking: FloatArray | None = None) -> Judged:
    """Return what dimensions (n, d) mean under a spec; the scope is ranked by their ungated average by default."""
    weights = np.array([dimension.weight for dimension in spec.dimensions])
    ranking = dimensions @ weights if scope_ranking is None else scope_ranking
    return Judged(dimensions, averages(dimensions, spec), ranking)


@dataclass(frozen=True)
class _Case:
    """A method beside the oracle on the same articles."""

    method: Judged
    truth: Judged
    spec: LensSpec

    @cached_property
    def scope(self) -> BoolArray:
        return self.truth.in_scope

    @cached_property
    def positive(self) -> BoolArray:
        members: BoolArray = self.truth.averages >= self.spec.medium
        return members

    @cached_property
    def found(self) -> BoolArray:
        members: BoolArray = self.method.averages >= self.spec.medium
        return members

    @cached_property
    def average_errors(self) -> FloatArray:
        return self.method.averages - self.truth.averages

    @cached_property
    def dimension_errors(self) -> FloatArray:
        return self.method.dimensions - self.truth.dimensions


def _absolute(errors: FloatArray, members: BoolArray | None = None) -> float | None:
    chosen = errors if members is None else errors[members]
    return float(np.abs(chosen).mean()) if chosen.size else None


def _share(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> float | None:
    return float(numerator.sum() / denominator.sum()) if denominator.any() else None


def _f1(case: _Case) -> float | None:
    named = case.found.sum() + case.positive.sum()
    return float(2 * (case.found & case.positive).sum() / named) if named else None


def _tier_agreement(case: _Case) -> float:
    bounds = [tier.at_least for tier in reversed(case.spec.tiers)]
    method, truth = (np.searchsorted(bounds, each.averages, side="right") for each in (case.method, case.truth))
    return float(np.mean(method == truth))


def _average_precision(positive: BoolArray, ranking: FloatArray) -> float | None:
    return float(average_precision_score(positive, ranking)) if positive.any() else None


def _recall_at_precision(case: _Case, precision: float) -> float | None:
    if not case.positive.any():
        return None
    precisions, recalls, _ = precision_recall_curve(case.positive, case.method.averages)
    return float(recalls[precisions >= precision].max())


def _ndcg(case: _Case) -> float | None:
    """Burges et al. (2005), the oracle's average as gain; tied articles share their places."""
    if len(case.scope) < 2 or not case.truth.averages.any():
        return None
    return float(ndcg_score([case.truth.averages], [case.method.averages], k=_TOP))


def _recall_at_top(case: _Case) -> float | None:
    """The share of medium-and-above articles in the top of the ranking; ties at its end count by their share."""
    if not case.positive.any():
        return None
    ranking = case.method.averages
    last = np.sort(ranking)[::-1][: min(_TOP, len(ranking))][-1]
    above, tied = ranking > last, ranking == last
    places = min(_TOP, len(ranking)) - above.sum()
    return float((case.positive[above].sum() + case.positive[tied].mean() * places) / case.positive.sum())


def _spearman(method: FloatArray, truth: FloatArray) -> float | None:
    if len(truth) < 3 or np.ptp(truth) == 0:
        return None
    return 0.0 if np.ptp(method) == 0 else float(spearmanr(method, truth).statistic)


def _kappa(method: FloatArray, truth: FloatArray) -> float | None:
    """Quadratic-weighted kappa (Cohen, 1968) of scores rounded to 0-10."""
    rounded, expected = np.rint(method).astype(int), np.rint(truth).astype(int)
    if not len(truth) or np.ptp(np.concatenate([rounded, expected])) == 0:
        return None
    return float(cohen_kappa_score(expected, rounded, labels=range(11), weights="quadratic"))


@dataclass(frozen=True)
class _Figure:
    label: str
    measure: Callable[[_Case], float | None]


COUNTS = ("n", "in_scope", "medium_and_above")

FIGURES: dict[str, _Figure] = {
    "n": _Figure("articles", lambda case: float(len(case.scope))),
    "in_scope": _Figure("articles in scope", lambda case: float(case.scope.sum())),
    "medium_and_above": _Figure("articles of medium and above", lambda case: float(case.positive.sum())),
    "average_mae": _Figure("MAE of the weighted average", lambda case: _absolute(case.average_errors)),
    "average_rmse": _Figure(
        "RMSE of the weighted average", lambda case: float(np.sqrt(np.square(case.average_errors).mean()))
    ),
    "average_spearman": _Figure(
        "Spearman of the weighted average", lambda case: _spearman(case.method.averages, case.truth.averages)
    ),
    "average_kappa": _Figure(
        "kappa of the weighted average", lambda case: _kappa(case.method.averages, case.truth.averages)
    ),
    "in_scope_average_mae": _Figure(
        "MAE of the weighted average, in scope", lambda case: _absolute(case.average_errors, case.scope)
    ),
    "in_scope_dimension_mae": _Figure(
        "MAE of dimensions, in scope", lambda case: _absolute(case.dimension_errors, case.scope)
    ),
    "in_scope_spearman": _Figure(
        "Spearman, in scope",
        lambda case: _spearman(case.method.averages[case.scope], case.truth.averages[case.scope]),
    ),
    "tier_agreement": _Figure("tier agreement", _tier_agreement),
    "medium_average_precision": _Figure(
        "average precision, medium+", lambda case: _average_precision(case.positive, case.method.averages)
    ),
    "medium_recall_at_precision_50": _Figure(
        "recall at precision 0.5, medium+", lambda case: _recall_at_precision(case, 0.5)
    ),
    "medium_recall": _Figure(
        "recall, medium+", lambda case: _share(case.found & case.positive, case.positive)
    ),
    "medium_precision": _Figure(
        "precision, medium+", lambda case: _share(case.found & case.positive, case.found)
    ),
    "medium_f1": _Figure("F1, medium+", _f1),
    "ndcg_at_50": _Figure("NDCG@50", _ndcg),
    "medium_recall_at_50": _Figure("recall@50, medium+", _recall_at_top),
    "scope_average_precision": _Figure(
        "average precision, scope", lambda case: _average_precision(case.scope, case.method.scope_ranking)
    ),
}  # fmt: skip
"""Every figure of a method on a set of articles, in reading order; a figure that the set cannot define is None."""

HEADLINES = (
    "medium_average_precision",
    "medium_recall_at_precision_50",
    "scope_average_precision",
    "tier_agreement",
    "average_mae",
    "in_scope_dimension_mae",
    "in_scope_spearman",
)
"""The figures that tell most, which tables show first and intervals are made for."""


def lower_is_better(figure: str) -> bool:
    """Tell errors from agreements by the figure's name."""
    return figure.endswith(("_mae", "_rmse", "_ratio"))


def figures(method: Judged, truth: Judged, spec: LensSpec, only: Collection[str] = tuple(FIGURES)) -> Figures:
    """Return the figures of one method on one set of articles, None where the set cannot define one."""
    case = _Case(method, truth, spec)
    return {key: FIGURES[key].measure(case) for key in only}


def means(rows: Sequence[Mapping[str, float | None]]) -> Figures:
    """Return every figure's mean over rows, those left out that cannot define it; counts of articles are no figures."""
    keys = [key for key in rows[0] if key not in COUNTS]
    defined = {key: [value for row in rows if (value := row[key]) is not None] for key in keys}
    return {key: float(np.mean(values)) if values else None for key, values in defined.items()}


def dimension_figures(method: Judged, truth: Judged, spec: LensSpec) -> dict[str, Figures]:
    """Return MAE, RMSE, Spearman and quadratic-weighted kappa of every dimension, over all and in scope."""
    scope, report = truth.in_scope, {}
    for column, name in enumerate(spec.dimension_names):
        answers, expected = method.dimensions[:, column], truth.dimensions[:, column]
        report[name] = {
            "mae": _absolute(answers - expected),
            "rmse": float(np.sqrt(np.square(answers - expected).mean())),
            "spearman": _spearman(answers, expected),
            "kappa": _kappa(answers, expected),
            "in_scope_mae": _absolute(answers - expected, scope),
            "in_scope_spearman": _spearman(answers[scope], expected[scope]),
            "in_scope_kappa": _kappa(answers[scope], expected[scope]),
        }
    return report


def calibration_curve(method: Judged, truth: Judged) -> list[dict[str, float]]:
    """Return the mean predicted and mean true average of the articles in each bin of the prediction."""
    bins = np.digitize(method.averages, _CURVE_EDGES[1:-1])
    return [
        {
            "from": _CURVE_EDGES[index],
            "to": _CURVE_EDGES[index + 1],
            "n": float(members.sum()),
            "predicted": float(method.averages[members].mean()),
            "true": float(truth.averages[members].mean()),
        }
        for index in range(len(_CURVE_EDGES) - 1)
        if (members := bins == index).any()
    ]


def coverage(calibrations: Sequence[Calibration], method: Judged, truth: Judged) -> Figures:
    """Return how often the stated interval holds the oracle's average, over all articles and over those in scope.

    `calibrations` are those that belong to each answer, (n,); all state one coverage.
    """
    bounds = np.array([each.interval(value) for each, value in zip(calibrations, method.averages, strict=True)])
    covered = (bounds[:, 0] <= truth.averages) & (truth.averages <= bounds[:, 1])
    return {
        "stated": calibrations[0].intervals.coverage,
        "measured": float(covered.mean()),
        "measured_in_scope": _share(covered & truth.in_scope, truth.in_scope),
        "mean_width": float((bounds[:, 1] - bounds[:, 0]).mean()),
    }
