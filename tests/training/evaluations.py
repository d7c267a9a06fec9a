"""A small evaluation made of numbers alone: two filters, no encoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from distilled_filters.spec import LensSpec, read_lens_spec
from distilled_filters.training.evaluate.bootstrap import intervals, leads, redrawn, resample
from distilled_filters.training.evaluate.figures import (
    HEADLINES,
    Judged,
    calibration_curve,
    dimension_figures,
    figures,
    judge,
    means,
)
from distilled_filters.training.evaluate.groups import group_figures, pooled_groups, worst_language_ratio
from distilled_filters.training.evaluate.measure import Evaluation

ROOT = Path(__file__).parents[2]
LENSES = ("belonging", "uplifting")


def lens(name: str = "uplifting", *, gate: bool = False) -> LensSpec:
    """Return a shipped lens, without its gate unless asked for."""
    spec = read_lens_spec(ROOT / "filters" / name / "v1" / "filter.toml")
    return spec if gate else spec.model_copy(update={"gate": None})


def flat(values: list[float], spec: LensSpec) -> Judged:
    """Return answers whose dimensions all equal the average."""
    return judge(np.tile(np.array(values)[:, None], (1, len(spec.dimensions))), spec)


def made_up_evaluation(size: int = 60) -> Evaluation:
    """Return an evaluation of random numbers, the student near the truth, the ridge far from it."""
    chance = np.random.default_rng(1)
    groups = {
        "origin": {"real": np.arange(size) % 3 > 0, "synthetic": np.arange(size) % 3 == 0},
        "language": {language: np.arange(size) % 4 == index for index, language in enumerate(("en", "nl", "es", "pt"))},
    }
    counts = resample([str(index) for index in range(size)], draws=20)
    reports: dict[str, dict[str, Any]] = {}
    answers: dict[str, dict[str, Judged]] = {}
    truths: dict[str, Judged] = {}
    for name in LENSES:
        spec = lens(name)
        dimensions = len(spec.dimensions)
        labels = chance.uniform(0, 10, (size, dimensions)) * (chance.random(size) < 0.5)[:, None]
        truth = truths[name] = judge(labels, spec)
        answers[name] = {
            "student": judge(np.clip(labels + chance.normal(0, 0.5, labels.shape), 0, 10), spec),
            "tfidf_ridge": judge(np.clip(labels + chance.normal(0, 3, labels.shape), 0, 10), spec),
            "mean_predictor": judge(np.tile(labels.mean(axis=0), (size, 1)), spec),
        }
        student = answers[name]["student"]
        measured = {method: figures(each, truth, spec) for method, each in answers[name].items()}
        measured["teacher"] = figures(truth, truth, spec)
        drawn = redrawn(student, truth, spec, counts, HEADLINES)
        reports[name] = {
            "split": "validation",
            "n": size,
            "medium_at_least": spec.medium,
            "methods": measured,
            "intervals_95": intervals(drawn),
            "leads_95": {
                "tfidf_ridge": leads(
                    drawn, redrawn(answers[name]["tfidf_ridge"], truth, spec, counts, ["medium_average_precision"])
                )
            },
            "dimensions": dimension_figures(student, truth, spec),
            "groups": group_figures(groups, student, truth, spec),
            "calibration_curve": calibration_curve(student, truth),
            "interval_coverage": {"stated": 0.9, "measured": 0.92, "measured_in_scope": 0.8, "mean_width": 1.5},
            "effects": {},
        }
    names = ("student", "teacher", "tfidf_ridge", "mean_predictor")
    pooled = pooled_groups(groups, {name: each["student"] for name, each in answers.items()}, truths, counts)
    mean_figures = {method: means([report["methods"][method] for report in reports.values()]) for method in names}
    mean_figures["student"]["worst_language_ratio"] = worst_language_ratio(pooled)
    effect = {
        "mean_absolute_change": {"average": 0.02, "dimensions": 0.03},
        "shipped": mean_figures["student"],
        "changed": mean_figures["tfidf_ridge"],
    }
    return Evaluation(
        split="validation",
        n=size,
        methods=names,
        reports=reports,
        means=mean_figures,
        groups=pooled,
        teacher_rows=size,
        effects={"fp32": effect, "head_only": effect},
        speed={
            "threads": 2,
            "machine": "a machine",
            "load_before": 0.1,
            "rows": [
                {"articles": "mixed lengths", "n": 9, "mean_tokens": 300.0, "mean_tokens_read": 180.0, "seconds": 0.1,
                 "articles_per_second": 90.0}
            ],
        },
        notes=["no frozen-encoder head: --base names the encoder to fit it on"],
        answers=answers,
        truths=truths,
        synthetic=groups["origin"]["synthetic"],
    )  # fmt: skip


def without_teacher(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation as it is where nothing was read twice, and nothing extra was asked for."""
    methods = tuple(name for name in evaluation.methods if name != "teacher")
    return dataclasses.replace(
        evaluation,
        methods=methods,
        means={name: evaluation.means[name] for name in methods},
        effects={},
        speed=None,
    )
