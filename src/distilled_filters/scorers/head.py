"""The zero-inflated head: an embedding and a first look in, expected dimension scores out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from distilled_filters.errors import HeadNotFoundError
from distilled_filters.scorers.lexical import Bag

__all__ = ["ALWAYS_IN_SCOPE", "ZeroInflatedHead", "read_plain_head", "read_tensors"]

ALWAYS_IN_SCOPE = 60.0
"""The scope's logit of a head without a scope of its own, such as an imported one: P(in scope) is 1 to the last bit."""

FloatArray = npt.NDArray[np.float32]


class ZeroInflatedHead:
    """P(in scope) times the scores of an article in scope.

    Most articles are out of most lenses' scopes and score exactly 0 there; a plain
    regression would smear that mass over the low scores (zero-inflated models: Lambert,
    1992).

    Args:
        weight: (1 + d, dims): a logit for the scope, then the d dimensions on the 0-10 scale.
        bias: (1 + d,).
        lexical: (vocabulary,), what each token says about the scope.
        blend: (3,), strength, slope and shift: the scope's logit is
            `slope * (embedding's logit + strength * first look - shift)`.
    """

    def __init__(
        self, weight: FloatArray, bias: FloatArray, lexical: npt.NDArray[np.float16], blend: FloatArray
    ) -> None:
        """Keep the tensors."""
        self.dimensions = len(bias) - 1
        self._weight = weight
        self._bias = bias
        self._lexical = lexical
        self._strength, self._slope, self._shift = map(float, blend)

    @classmethod
    def read(cls, path: Path, *, dimensions: int, dims: int, vocabulary: int) -> ZeroInflatedHead:
        """Read a head for `dimensions` scores of a `dims`-long embedding and `vocabulary` tokens.

        Raises:
            HeadNotFoundError: when tensors are missing, extra, misshapen or of another type.
        """
        expected = {
            "weight": ((1 + dimensions, dims), "float32"),
            "bias": ((1 + dimensions,), "float32"),
            "lexical": ((vocabulary,), "float16"),
            "blend": ((3,), "float32"),
        }
        return cls(**read_tensors(path, expected))

    def first_look(self, bag: Bag) -> float:
        """Return how much an article's words alone speak for the scope; NaN stays NaN."""
        return float(self._lexical[bag.tokens].astype(np.float32) @ bag.strengths)

    def scope(self, embedding: FloatArray, first_look: float) -> float:
        """Return P(in scope), 0-1, sharpened as the scores are; NaN where the answer is not finite."""
        return self._scope(self._answers(embedding), first_look)

    def __call__(self, embedding: FloatArray, first_look: float) -> list[float]:
        """Return the expected scores (d,), 0-10; all NaN where any answer is not finite."""
        answers = self._answers(embedding)
        scope = self._scope(answers, first_look)
        if not (np.isfinite(answers).all() and math.isfinite(scope)):
            # Clipping would make numbers of these.
            return [math.nan] * (len(answers) - 1)
        return [scope * float(score) for score in np.clip(answers[1:], 0.0, 10.0)]

    def _answers(self, embedding: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            return self._weight @ embedding + self._bias

    def _scope(self, answers: FloatArray, first_look: float) -> float:
        logit = self._slope * (float(answers[0]) + self._strength * first_look - self._shift)
        # Squashing would make a number of what is none.
        return 1.0 / (1.0 + math.exp(-min(max(logit, -60.0), 60.0))) if math.isfinite(logit) else math.nan


def read_plain_head(path: Path, dimensions: int, dims: int, key: str, made_for: str) -> ZeroInflatedHead:
    """Read a head without a first look, which names the weights it was trained with under `key` of its metadata.

    Raises:
        HeadNotFoundError: when tensors are missing, extra or misshapen, when nothing was
            learnt, or when it was trained with other weights than `made_for` (AC18).
    """
    expected = {"weight": ((1 + dimensions, dims), "float32"), "bias": ((1 + dimensions,), "float32")}
    tensors = read_tensors(path, expected)
    with safe_open(path, framework="np") as file:
        said = (file.metadata() or {}).get(key)
    if said != made_for:
        raise HeadNotFoundError(
            f"{path}: made for the {key} {str(said)[:12]}, but the spec names {made_for[:12]}; "
            "take all files of a checkpoint from one export"
        )
    scope, *others = (bool(row.any()) for row in tensors["weight"])
    if not (all(others) and (scope or tensors["bias"][0] == ALWAYS_IN_SCOPE)):
        raise HeadNotFoundError(f"{path}: a row of its weight is all zeros, as before training")
    none = np.zeros(0, dtype=np.float16)
    return ZeroInflatedHead(**tensors, lexical=none, blend=np.array([0, 1, 0], dtype=np.float32))


def read_tensors(path: Path, expected: Mapping[str, tuple[tuple[int, ...], str]]) -> dict[str, npt.NDArray[Any]]:
    """Read a head's tensors, which must be those expected: `{name: (shape, type)}`.

    Raises:
        HeadNotFoundError: when tensors are missing, extra, misshapen or of another type.
    """
    try:
        tensors: dict[str, npt.NDArray[Any]] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise HeadNotFoundError(f"{path}: not a safetensors file: {error}") from error
    found = {name: (tensor.shape, str(tensor.dtype)) for name, tensor in tensors.items()}
    if found != expected:
        raise HeadNotFoundError(f"{path}: expected tensors {expected}, found {found}")
    return tensors
