"""How far a lens's dimensions say the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distilled_filters.spec import LensSpec

__all__ = ["Redundancy", "redundancy"]

_FEWEST = 30


@dataclass(frozen=True)
class Redundancy:
    """Correlations of dimensions over articles in scope, where zeros of the rest do not make them alike.

    Attributes:
        articles: How many there were.
        first_component: The share of the standardised dimensions' variance on their first principal component, 0-1.
        dimensions: Names of those that vary, in the order of `correlations`.
        correlations: Pearson's, (d, d).
        closest: The two dimensions that are most alike, and their correlation.
    """

    articles: int
    first_component: float
    dimensions: list[str]
    correlations: list[list[float]]
    closest: tuple[str, str, float]


def redundancy(scores: Sequence[Sequence[float]], lens: LensSpec) -> Redundancy | None:
    """Compare the dimensions of articles in scope, (n, d), 0-10; None where n is under 30 or fewer than two vary."""
    if len(scores) < _FEWEST:
        return None
    columns = np.array(scores, dtype=np.float64)
    varying = [index for index in range(columns.shape[1]) if np.ptp(columns[:, index]) > 0]
    if len(varying) < 2:
        return None
    names = [lens.dimension_names[index] for index in varying]
    correlations = np.atleast_2d(np.corrcoef(columns[:, varying], rowvar=False))
    shares = np.linalg.eigvalsh(correlations)
    pairs = np.triu(np.abs(correlations), k=1)
    one, other = np.unravel_index(int(pairs.argmax()), pairs.shape)
    return Redundancy(
        articles=len(scores),
        first_component=float(shares[-1] / shares.sum()),
        dimensions=names,
        correlations=[[float(value) for value in row] for row in correlations],
        closest=(names[one], names[other], float(correlations[one, other])),
    )
