"""The zero-inflated linear head: an embedding in, expected dimension scores out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from distilled_filters.errors import HeadNotFoundError

__all__ = ["ZeroInflatedHead"]

FloatArray = npt.NDArray[np.float32]


class ZeroInflatedHead:
    """P(in scope) times the scores of an article in scope.

    Most articles are out of most lenses' scopes and score exactly 0 there; a plain
    regression would smear that mass over the low scores (zero-inflated models: Lambert,
    1992). `weight` is (1 + d, dims) and `bias` (1 + d,): a logit for the scope, then
    the d dimensions on the 0-10 scale.
    """

    def __init__(self, weight: FloatArray, bias: FloatArray) -> None:
        """Keep the two tensors."""
        self._weight = weight
        self._bias = bias

    @classmethod
    def read(cls, path: Path, dimensions: int, dims: int) -> ZeroInflatedHead:
        """Read a head for `dimensions` scores of a `dims`-long embedding.

        Raises:
            HeadNotFoundError: when tensors are missing, extra, misshapen or not fp32.
        """
        expected = {"weight": (1 + dimensions, dims), "bias": (1 + dimensions,)}
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise HeadNotFoundError(f"{path}: not a safetensors file: {error}") from error
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if found != expected or any(tensor.dtype != np.float32 for tensor in tensors.values()):
            raise HeadNotFoundError(f"{path}: expected fp32 tensors {expected}, found {found}")
        return cls(tensors["weight"], tensors["bias"])

    def __call__(self, embedding: FloatArray) -> list[float]:
        """Return the expected scores (d,), 0-10; all NaN where any answer is not finite."""
        with np.errstate(all="ignore"):
            answers = self._weight @ embedding + self._bias
        if not np.isfinite(answers).all():
            # Squashing and clipping would make numbers of these.
            return [math.nan] * (len(answers) - 1)
        scope = 1.0 / (1.0 + math.exp(-min(max(float(answers[0]), -60.0), 60.0)))
        return [scope * float(score) for score in np.clip(answers[1:], 0.0, 10.0)]
