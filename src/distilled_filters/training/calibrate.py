"""Fitting what comes after the encoder: first looks, isotonic tables, conformal intervals, percentiles.

First looks are fitted on the training split (`first_look.py`). Isotonic tables are fitted
on the calibration split, which trained nothing, and kept where they lower the error on the
validation split. Intervals are fitted on the validation split; `distillery evaluate`
measures their coverage on test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from distilled_filters.calibration import Calibration, Intervals, IsotonicTable, Percentiles
from distilled_filters.checkpoints import sha256_of
from distilled_filters.files import write_json
from distilled_filters.filter import Filter
from distilled_filters.scorers.lexical import bag_of
from distilled_filters.spec import FilterSpec
from distilled_filters.training.data import DatasetError, Example, read_examples, select, true_dimensions
from distilled_filters.training.first_look import Screen, fit_first_looks
from distilled_filters.training.folder import write_checkpoint
from distilled_filters.training.predict import averages, embed, linear, open_filters, raw_scores, read_unlabelled

__all__ = ["Fitted", "calibrate", "fit_tables", "write_identity"]

FloatArray = npt.NDArray[np.float64]

COVERAGE = 0.9
# Bins of the predicted weighted average; one with too few articles joins the one below.
_EDGES = (0.1, 0.5, 1.0, 2.0, 3.0, 4.0)
_LEAST_IN_BIN = 25
_PERCENTILE_POINTS = 1000


def write_identity(folder: Path, learnt: str = "head.safetensors") -> None:
    """Write tables that change nothing, for a head that has not been calibrated yet."""
    digest = sha256_of(folder / learnt)
    _write_tables(
        folder,
        Calibration(head_sha256=digest, dimensions={}, intervals=_no_intervals()),
        Percentiles(head_sha256=digest, source="none yet", averages=[0.0, 10.0]),
    )


@dataclass(frozen=True)
class Fitted:
    """What `calibrate` found for one filter: the dimensions with an isotonic table, and its screen."""

    isotonic: list[str]
    screen: Screen

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"isotonic": self.isotonic, "screen": self.screen.to_dict()}


def calibrate(data: Path, filters: Path) -> dict[str, Fitted]:
    """Fit first looks and tables of every filter, write them, and return what was found, by name.

    `data` holds `articles.jsonl`, `labels.jsonl` and, for percentiles, `unlabelled.jsonl`.

    Raises:
        DatasetError: when there are too few articles to fit anything on; nothing is written then.
    """
    found, backbone, preprocessor = open_filters(filters)
    examples = read_examples(data, [each.spec for each in found], preprocessor)
    fitting, judging = select(examples, "calibration"), select(examples, "validation")
    _refuse_too_few(data, fitting, judging)
    fitting_embeddings = embed(backbone, [example.window for example in fitting], "calibration")
    judging_embeddings = embed(backbone, [example.window for example in judging], "validation")
    fitting_bags, judging_bags = ([example.bag for example in part] for part in (fitting, judging))
    pool = [window for (window,) in read_unlabelled(data / "unlabelled.jsonl", preprocessor)]
    if not pool and not any(example.stratum == "natural" for example in judging):
        raise DatasetError(
            f"{data}: percentiles need articles as production draws them: unlabelled ones (give `prepare` a pool "
            "beside the labelled), or labelled ones of the stratum natural in the validation split"
        )
    pool_embeddings, pool_bags = embed(backbone, pool, "unlabelled"), [bag_of(window.text) for window in pool]
    screens = fit_first_looks(found, select(examples, "train"), fitting, fitting_embeddings, judging)
    for each in found:
        write_identity(each.folder)
        _write_checkpoint(each, screens[each.name])
    # The heads have changed: their digests too.
    found, _, _ = open_filters(filters)
    kept = {}
    for each in found:
        isotonic = fit_tables(
            each,
            each.folder,
            fitting,
            raw_scores(each, fitting_embeddings, fitting_bags),
            judging,
            raw_scores(each, judging_embeddings, judging_bags),
            raw_scores(each, pool_embeddings, pool_bags),
        )
        _write_checkpoint(each, screens[each.name])
        kept[each.name] = Fitted(isotonic, screens[each.name])
    return kept


def fit_tables(
    each: Filter,
    folder: Path,
    fitting: Sequence[Example],
    fitted: FloatArray,
    judging: Sequence[Example],
    judged: FloatArray,
    pool: FloatArray,
) -> list[str]:
    """Fit and write the tables of a filter's checkpoint; return the dimensions that got an isotonic table.

    Args:
        each: The filter on that checkpoint.
        folder: Where its head and tables lie.
        fitting: The calibration split.
        fitted: Its raw scores, (n, d).
        judging: The validation split.
        judged: Its raw scores, (m, d).
        pool: Those of unlabelled, production-like articles, (k, d).
    """
    spec, digest = each.spec, each.weights.digest
    judged_labels = true_dimensions(judging, spec)
    tables = _isotonic(spec, fitted, true_dimensions(fitting, spec), judged, judged_labels)
    calibration = Calibration(head_sha256=digest, dimensions=tables, intervals=_no_intervals())
    predicted = averages(_apply(calibration, judged, spec), spec)
    intervals = _intervals(predicted, averages(judged_labels, spec))
    calibration = calibration.model_copy(update={"intervals": intervals})
    natural = [i for i, example in enumerate(judging) if example.stratum == "natural"]
    reference = np.concatenate([averages(_apply(calibration, pool, spec), spec), predicted[natural]])
    _write_tables(
        folder,
        calibration,
        Percentiles(
            head_sha256=digest,
            source=f"{len(reference)} production-like articles: the unlabelled pool, the natural validation rows",
            averages=_quantiles(reference),
        ),
    )
    return list(tables)


def _refuse_too_few(data: Path, fitting: Sequence[Example], judging: Sequence[Example]) -> None:
    scopes = {label.scope >= 0.5 for example in fitting for label in example.labels.values()}
    if len(scopes) < 2 or not judging:
        raise DatasetError(
            f"{data}: its calibration split ({len(fitting)} articles, 8% of the training clusters) must hold articles "
            f"in scope and out of it, and its validation split ({len(judging)}) at least one; label more articles"
        )


def _write_checkpoint(each: Filter, screen: Screen) -> None:
    weights = linear(each)
    fields = {"kind": weights.kind, "backbone": weights.backbone, "backbone_sha256": weights.backbone_sha256}
    below = {} if screen.below is None else {"screen_below": screen.below}
    write_checkpoint(each.folder, each.checkpoint, {**fields, **below})


def _isotonic(
    spec: FilterSpec, raw: FloatArray, labels: FloatArray, judged: FloatArray, judged_labels: FloatArray
) -> dict[str, IsotonicTable]:
    tables = {}
    for column, name in enumerate(spec.dimension_names):
        fitted = IsotonicRegression(y_min=0.0, y_max=10.0, out_of_bounds="clip").fit(raw[:, column], labels[:, column])
        table = IsotonicTable(
            raw=np.round(fitted.X_thresholds_, 4).tolist(), calibrated=np.round(fitted.y_thresholds_, 4).tolist()
        )
        truth = judged_labels[:, column]
        calibrated = np.interp(judged[:, column], table.raw, table.calibrated)
        if np.abs(calibrated - truth).mean() < np.abs(judged[:, column] - truth).mean():
            tables[name] = table
    return tables


def _apply(calibration: Calibration, raw: FloatArray, spec: FilterSpec) -> FloatArray:
    return np.array([calibration.apply(spec.dimension_names, row) for row in raw.tolist()])


def _no_intervals() -> Intervals:
    return Intervals(coverage=COVERAGE, edges=[], half_widths=[10.0])


def _intervals(predicted: FloatArray, truth: FloatArray) -> Intervals:
    """Split-conformal half-widths with the finite-sample quantile in every bin.

    The first bin, of articles that look out of scope, is never joined: its many exact zeros
    would make the intervals of all others narrow.
    """
    errors, bins = np.abs(predicted - truth), np.digitize(predicted, _EDGES)
    edges: list[float] = []
    groups: list[FloatArray] = [errors[bins == 0]]
    for index, edge in enumerate(_EDGES, start=1):
        members = errors[bins == index]
        if edges and min(len(members), len(groups[-1])) < _LEAST_IN_BIN:
            groups[-1] = np.concatenate([groups[-1], members])
        else:
            edges.append(edge)
            groups.append(members)
    return Intervals(coverage=COVERAGE, edges=edges, half_widths=[_conformal_quantile(group) for group in groups])


def _conformal_quantile(errors: FloatArray) -> float:
    rank = int(np.ceil((len(errors) + 1) * COVERAGE))
    return 10.0 if rank > len(errors) else round(float(np.sort(errors)[rank - 1]), 4)


def _quantiles(reference: FloatArray) -> list[float]:
    points = np.quantile(reference, np.linspace(0, 1, _PERCENTILE_POINTS + 1), method="inverted_cdf")
    values: list[float] = np.round(points, 4).tolist()
    return values


def _write_tables(folder: Path, calibration: Calibration, percentiles: Percentiles) -> None:
    write_json(folder / "calibration.json", calibration.model_dump())
    write_json(folder / "percentiles.json", percentiles.model_dump())
