"""Measuring the shipped filters on a split they have not seen, beside the teacher and simple baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from distilled_filters.errors import SettingError
from distilled_filters.files import write_json
from distilled_filters.filter import Filter
from distilled_filters.spec import LensSpec, LinearCheckpoint
from distilled_filters.training.data import Example, read_examples, read_runs, select, true_dimensions
from distilled_filters.training.evaluate.baselines import mean_predictor, teacher, tfidf_ridge
from distilled_filters.training.evaluate.bootstrap import intervals, leads, redrawn, resample
from distilled_filters.training.evaluate.effects import against_fp32, against_head_only, compared, mean_effect
from distilled_filters.training.evaluate.figures import (
    HEADLINES,
    Figures,
    Judged,
    calibration_curve,
    coverage,
    dimension_figures,
    figures,
    judge,
    means,
)
from distilled_filters.training.evaluate.frozen import FrozenEncoder, frozen_head
from distilled_filters.training.evaluate.groups import (
    Groups,
    group_figures,
    pooled_groups,
    split_into_groups,
    worst_language_ratio,
)
from distilled_filters.training.evaluate.speed import measure_speed
from distilled_filters.training.predict import embed, open_filters, raw_scores, student_of

__all__ = [
    "BASELINES",
    "STUDENT",
    "TEACHER",
    "Evaluation",
    "as_judged",
    "cache_folder",
    "evaluate",
]

STUDENT = "student"
TEACHER = "teacher"
BASELINES = ("frozen_head", "tfidf_ridge", "mean_predictor")

# What a lead over a baseline is told in.
_LEADS = ("medium_average_precision", "in_scope_dimension_mae")

# What a split has already been used for; only test has not.
_SEEN = {
    "train": "the train split trained the student: these figures say nothing about new articles",
    "calibration": "the calibration split fitted the isotonic tables: figures on it are rosier than on test",
    "validation": "the validation split chose checkpoints and fitted the intervals: figures on it are rosier than on "
    "test",
}
_LEFT_OUT = {
    TEACHER: "no teacher against itself: no row of labels.jsonl was read twice",
    "frozen_head": "no frozen-encoder head: --base names the encoder to fit it on",
}


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        split: The split the filters were judged on.
        n: Its articles.
        methods: Every method's name, the student first.
        reports: Each filter's `metrics.json`, by name.
        means: Each method's figures averaged over the filters.
        groups: In-scope errors of the student by language, length, origin and stratum, all filters pooled.
        teacher_rows: How many rows of the data the oracle read twice.
        effects: What single choices do to scores, averaged over the filters.
        speed: Articles a second, where measured.
        notes: What to bear in mind, and what was left out.
        answers: Each filter's answers by method, for plots.
        truths: The oracle's, by filter.
        synthetic: Which articles of the split were written for the project, (n,).
    """

    split: str
    n: int
    methods: tuple[str, ...]
    reports: dict[str, dict[str, Any]]
    means: dict[str, Figures]
    groups: dict[str, dict[str, dict[str, Any]]]
    teacher_rows: int
    effects: dict[str, dict[str, Any]]
    speed: dict[str, Any] | None
    notes: list[str]
    answers: dict[str, dict[str, Judged]] = field(repr=False)
    truths: dict[str, Judged] = field(repr=False)
    synthetic: npt.NDArray[np.bool_] = field(repr=False)

    def document(self) -> dict[str, Any]:
        """Return everything but the answers, for JSON."""
        kept = ("split", "n", "methods", "means", "groups", "teacher_rows", "effects", "speed", "notes")
        return {"filters": self.reports} | {key: getattr(self, key) for key in kept}


def cache_folder() -> Path:
    """Return where slow embeddings are kept between runs by default."""
    return Path.home() / ".cache" / "distilled-filters" / "embeddings"


def evaluate(
    data: Path,
    filters: Path,
    split: str = "test",
    *,
    base: str | None = None,
    cache: Path | None = None,
    runs: Sequence[Path] = (),
    head_only: bool = False,
    speed: bool = False,
) -> Evaluation:
    """Measure every filter and its baselines on a split, and write each filter's `metrics.json`.

    Args:
        data: A data folder.
        filters: The `filters/` folder.
        split: Choose on validation, report test once.
        base: The encoder before fine-tuning, a Hub id or a folder, for the frozen-encoder head; None leaves it out.
        cache: Where the base encoder's embeddings are kept; `cache_folder()` by default.
        runs: The training runs the filters were exported from, to hold int8 against fp32.
        head_only: Also read articles without their tails, and say what that changes.
        speed: Also time all filters together.

    Raises:
        SettingError: when the split holds no article, or `runs` are not the filters' own.
    """
    found, backbone, preprocessor = open_filters(filters)
    specs = [each.spec for each in found]
    examples = read_examples(data, specs, preprocessor)
    judged = select(examples, split)
    if not judged:
        known = ", ".join(sorted({example.split for example in examples}))
        raise SettingError(f"no article of {data} is in the split {split!r}; it has: {known or 'no articles at all'}")
    training = [example for example in examples if example.split in {"train", "calibration"}]
    embeddings = embed(backbone, [example.window for example in judged], split)
    answers = {each.name: {STUDENT: _student(each, embeddings, judged)} for each in found}
    if base:
        encoder = FrozenEncoder(base, specs[0], backbone.spec, cache or cache_folder())
        _add(answers, "frozen_head", frozen_head(encoder, training, judged, specs))
    _add(answers, "tfidf_ridge", tfidf_ridge(training, judged, specs))
    _add(answers, "mean_predictor", {spec.name: mean_predictor(training, judged, spec) for spec in specs})
    changed = {}
    if runs:
        changed["fp32"] = against_fp32(runs, filters, backbone, judged, embeddings)
    if head_only:
        changed["head_only"] = against_head_only(backbone, specs[0].preprocessing, judged)

    truths = {spec.name: judge(true_dimensions(judged, spec), spec) for spec in specs}
    readings_of = read_runs(data)
    readings = {spec.name: both for spec in specs if (both := teacher(readings_of.values(), spec))}
    groups, counts = split_into_groups(judged), resample([example.cluster for example in judged])
    reports = {
        each.name: {"split": split}
        | _report(
            each,
            answers[each.name],
            truths[each.name],
            readings.get(each.name),
            groups,
            counts,
            {name: _student(each, other, judged) for name, other in changed.items()},
            _screened(each, truths[each.name], judged),
        )
        for each in tqdm(found, desc="figures", unit="filter", disable=None)
    }
    names = tuple(name for name in (STUDENT, TEACHER, *BASELINES) if name in next(iter(reports.values()))["methods"])
    pooled = pooled_groups(groups, {name: each[STUDENT] for name, each in answers.items()}, truths, counts)
    mean_figures = {name: means([report["methods"][name] for report in reports.values()]) for name in names}
    mean_figures[STUDENT]["worst_language_ratio"] = worst_language_ratio(pooled)
    evaluation = Evaluation(
        split=split,
        n=len(judged),
        methods=names,
        reports=reports,
        means=mean_figures,
        groups=pooled,
        teacher_rows=max((len(first.averages) for first, _ in readings.values()), default=0),
        effects={name: mean_effect([report["effects"][name] for report in reports.values()]) for name in changed},
        speed=measure_speed(found, judged) if speed else None,
        notes=[
            *([_SEEN[split]] if split in _SEEN else []),
            *(note for name, note in _LEFT_OUT.items() if name not in names),
        ],
        answers=answers,
        truths=truths,
        synthetic=np.array([example.stratum == "synthetic" for example in judged]),
    )
    for each in found:
        write_json(each.folder / "metrics.json", reports[each.name])
    return evaluation


def _report(
    each: Filter,
    methods: dict[str, Judged],
    truth: Judged,
    readings: tuple[Judged, Judged] | None,
    groups: Groups,
    counts: npt.NDArray[np.int64],
    changed: dict[str, Judged],
    screen: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return what one filter's `metrics.json` holds."""
    spec, student = each.spec, methods[STUDENT]
    measured = {name: figures(method, truth, spec) for name, method in methods.items()}
    if readings:
        measured[TEACHER] = figures(*readings, spec)
    drawn = redrawn(student, truth, spec, counts, HEADLINES)
    return {
        "n": len(truth.averages),
        "medium_at_least": spec.medium,
        "head_sha256": each.provenance.head_sha256,
        "backbone_sha256": each.provenance.backbone_sha256,
        "methods": measured,
        "intervals_95": intervals(drawn),
        "leads_95": {
            name: leads(drawn, redrawn(other, truth, spec, counts, _LEADS))
            for name, other in methods.items()
            if name != STUDENT
        },
        "dimensions": dimension_figures(student, truth, spec),
        "groups": group_figures(groups, student, truth, spec),
        "calibration_curve": calibration_curve(student, truth),
        "interval_coverage": coverage([each.calibration] * len(truth.averages), student, truth),
        "effects": {name: compared(other, student, truth, spec) for name, other in changed.items()},
        "screen": screen,
    }


def _screened(each: Filter, truth: Judged, examples: Sequence[Example]) -> dict[str, Any] | None:
    """Say what the filter's screen ends early and what it loses; None where it has none."""
    below = each.weights.screen_below if isinstance(each.weights, LinearCheckpoint) else None
    if below is None:
        return None
    student = student_of(each)
    ended = np.array([student.first_look(example.bag) is None for example in examples])
    positive = truth.averages >= each.spec.medium
    natural = np.array([example.stratum == "natural" for example in examples])
    return {
        "below": below,
        "medium_recall": float(1 - ended[positive].mean()) if positive.any() else None,
        "natural_ended": float(ended[natural].mean()) if natural.any() else None,
    }


def _student(each: Filter, embeddings: npt.NDArray[np.float32], examples: Sequence[Example]) -> Judged:
    """Judge embeddings as the filter does in production."""
    raw = raw_scores(each, embeddings, [example.bag for example in examples])
    names = each.spec.dimension_names
    return as_judged(raw, np.array([each.calibration.apply(names, row) for row in raw.tolist()]), each.spec)


def as_judged(raw: npt.NDArray[np.float64], calibrated: npt.NDArray[np.float64], spec: LensSpec) -> Judged:
    """Judge scores by calibrated dimensions, and rank the scope by raw ones, (n, d) each.

    Isotonic tables tie scores near zero; the uncalibrated average still ranks them.
    """
    return judge(calibrated, spec, scope_ranking=judge(raw, spec).scope_ranking)


def _add(answers: dict[str, dict[str, Judged]], name: str, method: dict[str, Judged]) -> None:
    for filter_name, judged in method.items():
        answers[filter_name][name] = judged
