"""What is fitted on a finished encoder: first looks, their blend with its answers, and screens.

Looks are fitted on the training split, the blend on the calibration split, and a screen
is on only where it holds on articles that neither look nor threshold has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

from distilled_filters.filter import Filter
from distilled_filters.spec import LensSpec
from distilled_filters.training.data import Example, true_dimensions
from distilled_filters.training.folder import write_head
from distilled_filters.training.lexical import cross_fitted_looks, fit_lexical, looks_of
from distilled_filters.training.predict import medium_and_above

__all__ = ["Screen", "fit_first_looks"]

FloatArray = npt.NDArray[np.float64]

# A screen may lose one in a hundred articles of medium and above.
_LEAST_RECALL = 0.99
# On fewer of them nothing is shown.
_LEAST_POSITIVES = 8
# The best answer by absolute error is zero for an article that is probably out of scope, not a
# small share of its score: twice the slope of the calibrated logit comes near that, and keeps the order.
_SHARPENING = 2.0


@dataclass(frozen=True)
class Screen:
    """A lens's threshold on first looks and what it does to articles it was not fitted on.

    `recall` is that of medium and above among `positives` articles, `natural_ended` the share
    of articles drawn at natural rates that end early. Where `recall` is too low, `below` is
    None and the screen is off.
    """

    below: float | None
    recall: float
    positives: int
    natural_ended: float

    def to_dict(self) -> dict[str, float | int | None]:
        """Return plain JSON types."""
        return asdict(self)


def fit_first_looks(
    filters: Sequence[Filter],
    training: Sequence[Example],
    fitting: Sequence[Example],
    embeddings: npt.NDArray[np.float32],
    unseen: Sequence[Example],
) -> dict[str, Screen]:
    """Write `lexical` and `blend` into every head; return the screens.

    Args:
        filters: Filters on one backbone; their heads are rewritten.
        training: What looks are fitted on.
        fitting: What the blend is fitted on.
        embeddings: The backbone's, of `fitting`, (n, dims).
        unseen: Further articles, on which a screen must hold.
    """
    bags = [example.bag for example in training]
    scopes = np.array([[example.labels[each.name].scope for each in filters] for example in training])
    paths = [each.folder / each.weights.learnt.path for each in filters]
    vocabulary = len(load_file(paths[0])["lexical"])
    lexical = fit_lexical(bags, scopes, vocabulary)
    centres = looks_of(bags, lexical).mean(axis=0)
    looks = looks_of([example.bag for example in fitting], lexical) - centres
    logits = np.stack([_scope_logits(path, embeddings) for path in paths], axis=1)
    fitting_scopes = np.array([[example.labels[each.name].scope for each in filters] for example in fitting])
    strength, slope, shift = _blend(logits, looks, fitting_scopes)
    for k, each in enumerate(filters):
        blend = np.array([strength, slope, shift + strength * centres[k]], dtype=np.float32)
        fitted: dict[str, npt.NDArray[Any]] = {"lexical": lexical[:, k].astype(np.float16), "blend": blend}
        write_head(each.folder, load_file(paths[k]) | fitted)
    crossed = cross_fitted_looks(bags, scopes, [example.cluster for example in training], vocabulary)
    held_out = [*fitting, *unseen]
    seen_looks = looks_of([example.bag for example in held_out], lexical)
    return {
        each.name: _screen(each.spec, training, crossed[:, k], held_out, seen_looks[:, k])
        for k, each in enumerate(filters)
    }


def _scope_logits(path: Path, embeddings: npt.NDArray[np.float32]) -> FloatArray:
    tensors = load_file(path)
    logits: FloatArray = embeddings @ tensors["weight"][0] + tensors["bias"][0]
    return logits


def _blend(logits: FloatArray, looks: FloatArray, scopes: FloatArray) -> tuple[float, float, float]:
    """Return strength, slope and shift of the scope's logit from answers (n, lenses) of both parts.

    One of each for all lenses, by logistic regression: single lenses have too few articles in scope.
    """
    features = np.stack([logits.ravel(), looks.ravel()], axis=1)
    fitted = LogisticRegression().fit(features, scopes.ravel() >= 0.5)
    slope, look = fitted.coef_[0]
    return look / slope, _SHARPENING * slope, -fitted.intercept_[0] / slope


def _screen(
    spec: LensSpec,
    training: Sequence[Example],
    crossed: FloatArray,
    unseen: Sequence[Example],
    looks: FloatArray,
) -> Screen:
    """Put the threshold under every training positive's cross-fitted look, and check it on unseen articles."""
    needles = crossed[medium_and_above(true_dimensions(training, spec), spec)]
    positives = looks[medium_and_above(true_dimensions(unseen, spec), spec)]
    if not (len(needles) and len(positives)):
        return Screen(None, 0.0, len(positives), 0.0)
    below = round(float(needles.min()), 5)
    recall = float((positives >= below).mean())
    natural = np.array([example.stratum == "natural" for example in unseen])
    ended = float((looks[natural] < below).mean()) if natural.any() else 0.0
    holds = recall >= _LEAST_RECALL and len(positives) >= _LEAST_POSITIVES
    return Screen(below if holds else None, recall, len(positives), ended)
