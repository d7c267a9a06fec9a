"""How far figures would move on other articles: the bootstrap over near-duplicate clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from distilled_filters.spec import LensSpec
from distilled_filters.training.evaluate.figures import Judged, figures, lower_is_better

__all__ = ["DRAWS", "intervals", "leads", "redrawn", "resample", "share_interval"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DRAWS = 500


def resample(clusters: Sequence[str], draws: int = DRAWS, seed: int = 0) -> IntArray:
    """Return how often each article stands in each resample, (draws, n); near-duplicates come and go together.

    Efron & Tibshirani (1993): as many clusters are drawn, with replacement, as there are.
    """
    _, index = np.unique(list(clusters), return_inverse=True)
    count = int(index.max()) + 1
    generator = np.random.default_rng(seed)
    drawn: IntArray = generator.multinomial(count, np.full(count, 1 / count), size=draws)[:, index]
    return drawn


def redrawn(
    method: Judged, truth: Judged, spec: LensSpec, counts: IntArray, keys: Sequence[str]
) -> dict[str, FloatArray]:
    """Return some figures of one method on every resample, (draws,); NaN where a resample cannot define one."""
    rows = []
    for draw in counts:
        articles = np.repeat(np.arange(len(draw)), draw)
        rows.append(figures(method.subset(articles), truth.subset(articles), spec, keys))
    return {key: np.array([row[key] for row in rows], dtype=np.float64) for key in keys}


def intervals(drawn: Mapping[str, FloatArray]) -> dict[str, list[float]]:
    """Return the 95% interval of every figure that any resample defines."""
    return {key: bounds for key, values in drawn.items() if (bounds := _interval(values))}


def leads(drawn: Mapping[str, FloatArray], other: Mapping[str, FloatArray]) -> dict[str, list[float]]:
    """Return the 95% interval of a method's lead over another on the same resamples; above zero is better."""
    return intervals(
        {key: (drawn[key] - values) * (-1 if lower_is_better(key) else 1) for key, values in other.items()}
    )


def share_interval(numerator: FloatArray, denominator: FloatArray, counts: IntArray) -> list[float] | None:
    """Return the 95% interval of a ratio of two sums over articles, each (n,)."""
    above, below = counts @ numerator, counts @ denominator
    return _interval(np.divide(above, below, out=np.full(len(counts), np.nan), where=below > 0))


def _interval(values: FloatArray) -> list[float] | None:
    defined = values[~np.isnan(values)]
    return [round(float(np.quantile(defined, q)), 4) for q in (0.025, 0.975)] if len(defined) else None
