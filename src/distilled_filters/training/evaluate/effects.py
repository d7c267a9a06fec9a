"""What single choices do to scores: int8 against fp32, head and tail against the head alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distilled_filters.errors import SettingError
from distilled_filters.preprocess import Preprocessor, Window
from distilled_filters.scorers.onnx import Backbone
from distilled_filters.spec import LensSpec, Preprocessing
from distilled_filters.training.data import Example
from distilled_filters.training.evaluate.baselines import as_article
from distilled_filters.training.evaluate.encoders import exact_student
from distilled_filters.training.evaluate.figures import HEADLINES, Judged, figures, means
from distilled_filters.training.predict import embed

__all__ = ["against_fp32", "against_head_only", "compared", "mean_effect"]

Embeddings = npt.NDArray[np.float32]

# int8 keeps embeddings within a few hundredths of this; those of another run are far from it.
_LEAST_COSINE = 0.9


def against_fp32(
    runs: Sequence[Path], filters: Path, backbone: Backbone, examples: Sequence[Example], shipped: Embeddings
) -> Embeddings:
    """Return the fp32 student's embeddings of the articles that the shipped backbone has embedded.

    Raises:
        SettingError: when the shipped backbone was not made from these runs.
    """
    exact = embed(exact_student(runs, filters, backbone.spec), [example.window for example in examples], "fp32")
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(shipped, axis=1)
    cosine = float(np.median((exact * shipped).sum(axis=1) / norms)) if exact.shape == shipped.shape else 0.0
    if cosine < _LEAST_COSINE:
        raise SettingError(
            f"{', '.join(map(str, runs))}: not what {backbone.spec.name}/v{backbone.spec.version} was released from: "
            f"the median cosine of their embeddings is {cosine:.2f}"
        )
    return exact


def against_head_only(backbone: Backbone, settings: Preprocessing, examples: Sequence[Example]) -> Embeddings:
    """Return embeddings of windows as long as the shipped ones, but of each article's beginning only."""
    longer = {"head_tokens": settings.head_tokens + settings.tail_tokens, "tail_tokens": 0, "separator": ""}
    preprocessor = Preprocessor(settings.model_copy(update=longer), backbone.tokenizer)
    windows: list[Window] = [preprocessor(as_article(example)) for example in examples]
    return embed(backbone, windows, "head only")


def compared(changed: Judged, shipped: Judged, truth: Judged, spec: LensSpec) -> dict[str, Any]:
    """Return how much a choice moves the scores, and the headline figures with and without it."""
    return {
        "mean_absolute_change": {
            "average": float(np.abs(changed.averages - shipped.averages).mean()),
            "dimensions": float(np.abs(changed.dimensions - shipped.dimensions).mean()),
        },
        "shipped": figures(shipped, truth, spec, HEADLINES),
        "changed": figures(changed, truth, spec, HEADLINES),
    }


def mean_effect(effects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `compared` says, averaged over the filters."""
    return {part: means([each[part] for each in effects]) for part in effects[0]}
