"""Measuring the shipped filters on a split they have not seen, beside simple baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import average_precision_score, precision_recall_curve

from distilled_filters import checkpoints
from distilled_filters.calibration import Calibration, read_calibration
from distilled_filters.decision import tier_of
from distilled_filters.files import write_json
from distilled_filters.filter import Filter
from distilled_filters.spec import LensSpec
from distilled_filters.training.data import Example, read_examples, select, true_dimensions
from distilled_filters.training.predict import averages, embed, open_filters, raw_scores

__all__ = ["BASELINES", "STUDENT", "evaluate", "mean_figures"]

FloatArray = npt.NDArray[np.float64]
Figures = dict[str, float | None]

STUDENT = "student"
BASELINES = ("tfidf_ridge", "mean_predictor")
_RESAMPLES = 500
_WORKING_TIER = "medium"


@dataclass(frozen=True)
class _Judged:
    """One method's answers on one lens: dimensions (n, d), gated averages (n,), and a ranking by scope (n,)."""

    dimensions: FloatArray
    averages: FloatArray
    scope_ranking: FloatArray


def evaluate(data: Path, filters: Path, split: str = "test") -> dict[str, dict[str, Any]]:
    """Measure every filter and its baselines on a split; write each `metrics.json`; return them by name."""
    found, backbone, preprocessor = open_filters(filters)
    examples = read_examples(data, [each.spec for each in found], preprocessor)
    judged = select(examples, split)
    training = [example for example in examples if example.split in {"train", "calibration"}]
    embeddings = embed(backbone, [example.window for example in judged], split)
    ridge = _tfidf_ridge(training, judged, found)
    reports = {}
    for each in found:
        spec = each.spec
        truth = _judged(true_dimensions(judged, spec), spec)
        raw = raw_scores(each, embeddings)
        calibration = _calibration(each)
        calibrated = np.array([calibration.apply(spec.dimension_names, row) for row in raw.tolist()])
        # Isotonic tables tie scores near zero; the uncalibrated average still ranks them.
        student = replace(_judged(calibrated, spec), scope_ranking=raw @ _weights(spec))
        mean = np.tile(true_dimensions(training, spec).mean(axis=0), (len(judged), 1))
        methods = {
            STUDENT: student,
            "tfidf_ridge": _judged(ridge[each.name], spec),
            "mean_predictor": _judged(mean, spec),
        }
        report = {
            "split": split,
            "n": len(judged),
            "head_sha256": each.weights.head.sha256,
            "backbone_sha256": each.weights.backbone_sha256,
            "methods": {name: _figures(method, truth, spec) for name, method in methods.items()},
            "intervals_95": _bootstrap(student, truth, spec),
            "dimensions": _by_dimension(student, truth, spec),
            "groups": _by_group(judged, student, truth, spec),
            "interval_coverage": _coverage(calibration, student, truth),
        }
        write_json(each.folder / "metrics.json", report)
        reports[each.name] = report
    return reports


def mean_figures(reports: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return each method's figures averaged over the filters (undefined ones left out)."""
    means: dict[str, dict[str, float]] = {}
    for method in (STUDENT, *BASELINES):
        rows = [report["methods"][method] for report in reports.values()]
        means[method] = {
            key: float(np.mean([row[key] for row in rows if row[key] is not None])) for key in rows[0] if key != "n"
        }
    return means


def _judged(dimensions: FloatArray, spec: LensSpec) -> _Judged:
    return _Judged(dimensions, averages(dimensions, spec), dimensions @ _weights(spec))


def _weights(spec: LensSpec) -> FloatArray:
    return np.array([dimension.weight for dimension in spec.dimensions])


def _calibration(each: Filter) -> Calibration:
    weights = each.weights
    path = checkpoints.locate(weights.calibration, each.folder, weights.hub, each.name)
    return read_calibration(path, weights.head.sha256)


def _figures(method: _Judged, truth: _Judged, spec: LensSpec) -> Figures:
    """Every figure of one method on one set of articles; None where the set cannot define it."""
    scope = _in_scope(truth)
    boundary = next(tier.at_least for tier in spec.tiers if tier.name == _WORKING_TIER)
    positive = truth.averages >= boundary
    tiers = [[tier_of(value, spec.tiers) for value in each.averages] for each in (method, truth)]
    return {
        "n": float(len(scope)),
        "in_scope": float(scope.sum()),
        "medium_and_above": float(positive.sum()),
        "average_mae": float(np.abs(method.averages - truth.averages).mean()),
        "in_scope_dimension_mae": _where(scope, lambda: np.abs(method.dimensions - truth.dimensions)[scope].mean()),
        "tier_agreement": float(np.mean([a == b for a, b in zip(*tiers, strict=True)])),
        "medium_average_precision": _where(positive, lambda: average_precision_score(positive, method.averages)),
        "medium_recall_at_precision_50": _where(positive, lambda: _recall_at(positive, method.averages, 0.5)),
        "scope_average_precision": _where(scope, lambda: average_precision_score(scope, method.scope_ranking)),
        "in_scope_spearman": _spearman(method.averages[scope], truth.averages[scope]),
    }


def _in_scope(truth: _Judged) -> npt.NDArray[np.bool_]:
    members: npt.NDArray[np.bool_] = np.any(truth.dimensions > 0, axis=1)
    return members


def _where(members: npt.NDArray[np.bool_], figure: Callable[[], float]) -> float | None:
    return float(figure()) if members.any() else None


def _spearman(method: FloatArray, truth: FloatArray) -> float | None:
    if len(truth) < 3 or np.ptp(truth) == 0:
        return None
    return 0.0 if np.ptp(method) == 0 else float(spearmanr(method, truth).statistic)


def _recall_at(positive: npt.NDArray[np.bool_], scores: FloatArray, precision: float) -> float:
    precisions, recalls, _ = precision_recall_curve(positive, scores)
    return float(max(recall for p, recall in zip(precisions, recalls, strict=True) if p >= precision))


def _subset(method: _Judged, members: npt.NDArray[Any]) -> _Judged:
    return _Judged(method.dimensions[members], method.averages[members], method.scope_ranking[members])


def _bootstrap(method: _Judged, truth: _Judged, spec: LensSpec) -> dict[str, list[float]]:
    """95% percentile intervals over resampled articles (Efron & Tibshirani, 1993)."""
    generator = np.random.default_rng(0)
    size = len(truth.averages)
    draws = [generator.integers(0, size, size) for _ in range(_RESAMPLES)]
    rows = [_figures(_subset(method, draw), _subset(truth, draw), spec) for draw in draws]
    keys = ("average_mae", "tier_agreement", "medium_average_precision", "scope_average_precision")
    return {
        key: [
            round(float(np.quantile([row[key] for row in rows if row[key] is not None], q)), 4) for q in (0.025, 0.975)
        ]
        for key in keys
    }


def _by_dimension(method: _Judged, truth: _Judged, spec: LensSpec) -> dict[str, Figures]:
    scope = _in_scope(truth)
    errors = np.abs(method.dimensions - truth.dimensions)
    return {
        name: {
            "mae": float(errors[:, column].mean()),
            "in_scope_mae": float(errors[scope, column].mean()) if scope.any() else None,
            "in_scope_spearman": _spearman(method.dimensions[scope, column], truth.dimensions[scope, column]),
        }
        for column, name in enumerate(spec.dimension_names)
    }


def _by_group(
    examples: Sequence[Example], method: _Judged, truth: _Judged, spec: LensSpec
) -> dict[str, dict[str, Figures]]:
    keys: dict[str, list[str]] = {
        "origin": ["synthetic" if example.stratum == "synthetic" else "real" for example in examples],
        "language": [example.language for example in examples],
        "length": ["truncated" if example.window.tokens.truncated else "whole" for example in examples],
    }
    return {
        key: {
            value: _figures(_subset(method, members), _subset(truth, members), spec)
            for value in sorted(set(values))
            if (members := np.array([each == value for each in values])).any()
        }
        for key, values in keys.items()
    }


def _coverage(calibration: Calibration, method: _Judged, truth: _Judged) -> dict[str, float | None]:
    bounds = np.array([calibration.interval(value) for value in method.averages])
    covered = (bounds[:, 0] <= truth.averages) & (truth.averages <= bounds[:, 1])
    scope = _in_scope(truth)
    return {
        "stated": calibration.intervals.coverage,
        "measured": float(covered.mean()),
        "measured_in_scope": _where(scope, lambda: covered[scope].mean()),
    }


def _tfidf_ridge(
    training: Sequence[Example], judged: Sequence[Example], filters: Sequence[Filter]
) -> dict[str, FloatArray]:
    """Ridge regression on TF-IDF word features of the whole text: what needs no neural network."""
    features = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=50_000, strip_accents="unicode")
    fitted = features.fit_transform([example.text for example in training])
    asked = features.transform([example.text for example in judged])
    labels = np.hstack([true_dimensions(training, each.spec) for each in filters])
    # The dual form: fewer articles than features, and one factorisation for all dimensions.
    ridge = KernelRidge(alpha=1.0, kernel="linear").fit(fitted, labels - labels.mean(axis=0))
    predicted = np.clip(ridge.predict(asked) + labels.mean(axis=0), 0.0, 10.0)
    ends = np.cumsum([len(each.spec.dimensions) for each in filters])
    return {each.name: part for each, part in zip(filters, np.split(predicted, ends[:-1], axis=1), strict=True)}
