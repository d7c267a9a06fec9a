"""Parts of a split that are looked at apart: languages, lengths, origins, strata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distilled_filters.spec import LensSpec
from distilled_filters.training.data import Example
from distilled_filters.training.evaluate.bootstrap import share_interval
from distilled_filters.training.evaluate.figures import Figures, Judged, figures

__all__ = ["Groups", "group_figures", "pooled_groups", "split_into_groups", "worst_language_ratio"]

BoolArray = npt.NDArray[np.bool_]
Groups = dict[str, dict[str, BoolArray]]

_SYNTHETIC = "synthetic"
_LENGTHS = ((128, "1-128"), (256, "129-256"), (512, "257-512"))
_LONGEST = "513+"
_REFERENCE_LANGUAGE = "en"
# The others have too few labels in scope to tell a weak language from a few hard articles.
_COMPARED_LANGUAGES = ("nl", "es", "pt")


def split_into_groups(examples: Sequence[Example]) -> Groups:
    """Return which examples, (n,), are in each part: `{"language": {"nl": mask}}`; lengths are in tokens."""
    values: dict[str, list[str | None]] = {
        "origin": [_SYNTHETIC if example.stratum == _SYNTHETIC else "real" for example in examples],
        "language": [example.language for example in examples],
        "length": [_length(example.window.tokens.total) for example in examples],
        # The synthetic stratum is an origin already.
        "stratum": [None if example.stratum == _SYNTHETIC else example.stratum for example in examples],
    }
    return {
        group: {part: np.array([each == part for each in parts]) for part in sorted(set(filter(None, parts)))}
        for group, parts in values.items()
    }


def group_figures(groups: Groups, method: Judged, truth: Judged, spec: LensSpec) -> dict[str, dict[str, Figures]]:
    """Return every figure of one method on each part."""
    return {
        group: {part: figures(method.subset(members), truth.subset(members), spec) for part, members in parts.items()}
        for group, parts in groups.items()
    }


def pooled_groups(
    groups: Groups,
    methods: Mapping[str, Judged],
    truths: Mapping[str, Judged],
    counts: npt.NDArray[np.int64],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the in-scope dimension MAE of each part over all labels of all lenses together, with its interval.

    A part of one lens often has a handful of labels in scope; pooled over lenses there are enough to compare.
    """
    errors, scope = [], []
    for name, truth in truths.items():
        inside = truth.in_scope.astype(np.float64)
        errors.append(np.abs(methods[name].dimensions - truth.dimensions).mean(axis=1) * inside)
        scope.append(inside)
    error, labels = np.sum(errors, axis=0), np.sum(scope, axis=0)
    return {
        group: {
            part: {
                "n": float(members.sum()),
                "in_scope": float(labels[members].sum()),
                "in_scope_dimension_mae": (
                    float(error[members].sum() / labels[members].sum()) if labels[members].any() else None
                ),
                "interval_95": share_interval(error * members, labels * members, counts),
            }
            for part, members in parts.items()
        }
        for group, parts in groups.items()
    }


def worst_language_ratio(pooled: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> float | None:
    """Return the largest in-scope dimension MAE of Dutch, Spanish and Portuguese, as a multiple of that of English."""
    errors = {language: part["in_scope_dimension_mae"] for language, part in pooled["language"].items()}
    others = [error for language in _COMPARED_LANGUAGES if (error := errors.get(language)) is not None]
    reference = errors.get(_REFERENCE_LANGUAGE)
    return max(others) / reference if reference and others else None


def _length(tokens: int) -> str:
    return next((name for most, name in _LENGTHS if tokens <= most), _LONGEST)
