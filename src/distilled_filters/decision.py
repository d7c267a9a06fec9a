"""From calibrated dimensions to a verdict: weighted average, gate, tier, percentile.

Pure functions of numbers and spec parts; nothing here knows a model.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from distilled_filters.errors import NonFiniteScoreError
from distilled_filters.spec import Gate, LensSpec, Tier

__all__ = ["apply_gate", "check_finite", "percentile_of", "tier_of", "verdict", "weighted_average"]


def check_finite(values: Sequence[float], names: Sequence[str]) -> None:
    """Refuse NaN and infinity before they can become a score.

    Raises:
        NonFiniteScoreError: naming the values.
    """
    bad = [f"{name}={value}" for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
    if bad:
        raise NonFiniteScoreError(f"the student answered {', '.join(bad)}; the record has no score")


def weighted_average(dimensions: Sequence[float], spec: LensSpec) -> float:
    """Return the spec-weighted mean of the dimensions, 0-10."""
    return math.fsum(d.weight * value for d, value in zip(spec.dimensions, dimensions, strict=True))


def apply_gate(average: float, dimensions: Sequence[float], spec: LensSpec) -> tuple[float, bool]:
    """Return the average under the spec's gate, and whether the gate lowered it."""
    gate: Gate | None = spec.gate
    if gate is None or dimensions[spec.dimension_names.index(gate.dimension)] >= gate.below:
        return average, False
    return min(average, gate.ceiling), average > gate.ceiling


def tier_of(average: float, tiers: Sequence[Tier]) -> str:
    """Return the best tier whose bound the average reaches; bounds belong to the upper tier."""
    return next((tier.name for tier in tiers if average >= tier.at_least), tiers[-1].name)


def verdict(dimensions: Sequence[float], spec: LensSpec) -> tuple[float, str]:
    """Return the gated weighted average, 0-10, and its tier."""
    average, _ = apply_gate(weighted_average(dimensions, spec), dimensions, spec)
    return average, tier_of(average, spec.tiers)


def percentile_of(average: float, reference: Sequence[float]) -> float:
    """Return the share in percent of reference articles (ascending averages) at or under `average`."""
    return 100.0 * bisect_right(reference, average) / len(reference)
