"""The first look: which words an article has, in whatever order and however long it is.

It costs microseconds and reads the whole article, where the encoder reads a window. A
head adds it to its scope logit (wide & deep: Cheng et al., 2016), and may end early by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Bag", "bag_of"]


@dataclass(frozen=True, slots=True)
class Bag:
    """The distinct tokens of a text (k,), and how strong each is (k,): log frequencies of unit length together."""

    tokens: npt.NDArray[np.int32]
    strengths: npt.NDArray[np.float32]


def bag_of(ids: npt.NDArray[np.int32]) -> Bag:
    """Count a text's token ids (n,); no order, no length is left."""
    tokens, counts = np.unique(ids, return_counts=True)
    strengths = 1.0 + np.log(counts)
    strengths /= max(1.0, float(np.linalg.norm(strengths)))
    return Bag(tokens, strengths.astype(np.float32))
