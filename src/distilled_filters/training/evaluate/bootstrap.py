"""How far figures would move on other articles: the bootstrap over near-duplicate clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distilled_filters.spec import LensSpec
from distilled_filters.training.evaluate.figures import HEADLINES, Judged, figures, lower_is_better

__all__ = ["DRAWS", "figure_intervals", "leads", "resample", "share_interval"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DRAWS = 500
_LEAD_FIGURES = ("medium_average_precision", "in_scope_dimension_mae")


def resample(clusters: Sequence[str], draws: int = DRAWS, seed: int = 0) -> IntArray:
    """Return how often each article stands in each resample, (draws, n); near-duplicates come and go together.

    Efron & Tibshirani (1993): as many clusters are drawn, with replacement, as there are.
    """
    _, index = np.unique(list(clusters), return_inverse=True)
    count = int(index.max()) + 1
    generator = np.random.default_rng(seed)
    drawn: IntArray = generator.multinomial(count, np.full(count, 1 / count), size=draws)[:, index]
    return drawn


def figure_intervals(method: Judged, truth: Judged, spec: LensSpec, counts: IntArray) -> dict[str, list[float]]:
    """Return the 95% interval of every headline figure that any resample can define."""
    rows = [figures(method.subset(draw), truth.subset(draw), spec, HEADLINES) for draw in _draws(counts)]
    intervals = {}
    for key in HEADLINES:
        values = [value for row in rows if (value := row[key]) is not None]
        if values:
            intervals[key] = _interval(values)
    return intervals


def leads(method: Judged, other: Judged, truth: Judged, spec: LensSpec, counts: IntArray) -> dict[str, list[float]]:
    """Return the 95% interval of a method's lead over another on the same resamples; above zero is better."""
    pairs = []
    for draw in _draws(counts):
        true = truth.subset(draw)
        pairs.append([figures(each.subset(draw), true, spec, _LEAD_FIGURES) for each in (method, other)])
    intervals = {}
    for key in _LEAD_FIGURES:
        sign = -1 if lower_is_better(key) else 1
        values = [
            sign * (mine - theirs)
            for ours, others in pairs
            if (mine := ours[key]) is not None and (theirs := others[key]) is not None
        ]
        if values:
            intervals[key] = _interval(values)
    return intervals


def share_interval(numerator: FloatArray, denominator: FloatArray, counts: IntArray) -> list[float] | None:
    """Return the 95% interval of a ratio of two sums over articles, each (n,)."""
    below = counts @ denominator
    defined = below > 0
    return _interval((counts @ numerator)[defined] / below[defined]) if defined.any() else None


def _draws(counts: IntArray) -> list[IntArray]:
    return [np.repeat(np.arange(len(draw)), draw) for draw in counts]


def _interval(values: Sequence[float] | FloatArray) -> list[float]:
    return [round(float(np.quantile(values, q)), 4) for q in (0.025, 0.975)]
