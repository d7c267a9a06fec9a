"""One further checkpoint of filters: its tables fitted, and its figures beside the default checkpoint's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distilled_filters.article import Article
from distilled_filters.errors import SettingError
from distilled_filters.files import write_json
from distilled_filters.filter import Filter
from distilled_filters.registry import newest_folders
from distilled_filters.scorers.base import EXPERT, SCREEN, Answer
from distilled_filters.spec import CascadeCheckpoint, Expert, LensSpec
from distilled_filters.training.answers import kept_answers, raw_answers
from distilled_filters.training.calibrate import fit_tables
from distilled_filters.training.data import Example, read_examples, select, true_dimensions
from distilled_filters.training.evaluate.baselines import as_article
from distilled_filters.training.evaluate.bootstrap import intervals, leads, redrawn, resample
from distilled_filters.training.evaluate.figures import HEADLINES, Figures, Judged, coverage, figures, judge
from distilled_filters.training.evaluate.measure import as_judged
from distilled_filters.training.evaluate.speed import seconds_an_article
from distilled_filters.training.folder import refresh_checkpoint

__all__ = [
    "Beside",
    "calibrate_checkpoint",
    "cost_of",
    "evaluate_checkpoint",
    "fit_further",
    "having",
    "judge_answers",
    "labelled",
]

# Enough for percentiles; a language model on a processor reads a few articles a second.
_MOST_UNLABELLED = 600


@dataclass(frozen=True)
class Beside:
    """One filter's checkpoint beside its default one, on one split.

    `methods` are figures by checkpoint; `leads_95` the interval of the further one's lead
    on the same resamples, above zero is better; `cascade` is what a cascade keeps of its expert.
    """

    filter: str
    split: str
    n: int
    methods: dict[str, Figures]
    intervals_95: dict[str, list[float]]
    leads_95: dict[str, list[float]]
    interval_coverage: Figures
    cascade: Figures | None
    answers: dict[str, Judged] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {key: value for key, value in vars(self).items() if key != "answers"}


def calibrate_checkpoint(data: Path, filters: Path, checkpoint: str, cache: Path | None = None) -> dict[str, list[str]]:
    """Fit and write the tables of an expert's checkpoint; return the dimensions with an isotonic table, by filter.

    Raises:
        SettingError: when no filter has such a checkpoint, or it is of another kind.
    """
    kept = {}
    for each in having(filters, checkpoint):
        kind = each.weights.kind
        if not isinstance(each.weights, Expert):
            mend = f"fit it with `distillery {kind}`" if each.weights.parts else "leave out --checkpoint"
            raise SettingError(f"{each.name}: {each.checkpoint} is {kind}; {mend}")
        if each.weights.hub:
            raise SettingError(f"{each.name}: {checkpoint} lies on the Hub; calibrate it where it is made")
        kept[each.name] = fit_further(data, each, cache)
    return kept


def fit_further(data: Path, each: Filter, cache: Path | None = None) -> list[str]:
    """Fit and write the tables of a filter's further checkpoint; return the dimensions with an isotonic table.

    The same splits as for students: isotonic tables on calibration, kept where they help on
    validation; intervals on validation; percentiles on its natural rows and unlabelled ones.
    """
    examples = labelled(data, each)
    fitting, judging = select(examples, "calibration"), select(examples, "validation")
    with (data / "unlabelled.jsonl").open(encoding="utf-8") as lines:
        unlabelled = [Article.parse(json.loads(line)) for line in lines]
    step = max(1, len(unlabelled) // _MOST_UNLABELLED)
    fitted, judged, pool = (
        raw_answers(each, articles, f"{each.name}: {label}", cache)
        for label, articles in (
            ("calibration", [as_article(example) for example in fitting]),
            ("validation", [as_article(example) for example in judging]),
            ("unlabelled", unlabelled[::step]),
        )
    )
    isotonic = fit_tables(each, each.folder / each.weights.home, fitting, fitted, judging, judged, pool)
    refresh_checkpoint(each.folder, each.checkpoint, each.weights)
    return isotonic


def evaluate_checkpoint(
    data: Path, filters: Path, checkpoint: str, split: str = "test", cache: Path | None = None
) -> list[Beside]:
    """Measure a checkpoint beside its filters' default one, and those it is made of; write its `metrics.json`.

    Raises:
        SettingError: when no filter has such a checkpoint, or the split holds no article.
    """
    found = []
    for each in having(filters, checkpoint):
        spec, student = each.spec, Filter(each.folder)
        examples = select(labelled(data, each), split)
        if not examples:
            raise SettingError(f"no article of {data} is in the split {split!r}")
        articles = [as_article(example) for example in examples]
        names = dict.fromkeys([student.checkpoint, each.checkpoint, *(part.checkpoint for part in each.parts)])
        answers = {
            name: kept_answers(each.with_checkpoint(name), articles, f"{each.name}: {name}", cache) for name in names
        }
        judged = {name: judge_answers(given, spec) for name, given in answers.items()}
        truth = judge(true_dimensions(examples, spec), spec)
        counts = resample([example.cluster for example in examples])
        own, theirs = (
            redrawn(judged[name], truth, spec, counts, HEADLINES) for name in (each.checkpoint, student.checkpoint)
        )
        tables = [answer.tables.calibration for answer in answers[each.checkpoint]]
        beside = Beside(
            filter=each.name,
            split=split,
            n=len(examples),
            methods={name: figures(answered, truth, spec) for name, answered in judged.items()},
            intervals_95=intervals(own),
            leads_95=leads(own, theirs),
            interval_coverage=coverage(tables, judged[each.checkpoint], truth),
            cascade=_against_expert(each, answers[each.checkpoint], judged, examples, counts),
            answers=judged,
        )
        write_json(each.folder / each.weights.home / "metrics.json", beside.to_dict())
        found.append(beside)
    return found


def judge_answers(answers: Sequence[Answer], spec: LensSpec) -> Judged:
    """Judge answers, each by the tables that it brings."""
    calibrated = np.array([answer.calibrated(spec.dimension_names) for answer in answers])
    return as_judged(np.array([answer.raw for answer in answers]), calibrated, spec)


def cost_of(each: Filter, student: str, expert: str, share: float, articles: Sequence[Article]) -> dict[str, float]:
    """Time student and expert on some articles, and return what asking about a share of them takes.

    `cost` is that of the cascade as a part of the expert's: the student reads every article.
    """
    names = {"student_seconds": student, "expert_seconds": expert}
    timed = {key: seconds_an_article(each.with_checkpoint(name), articles) for key, name in names.items()}
    return {**timed, "cost": timed["student_seconds"] / timed["expert_seconds"] + share}


def _against_expert(
    each: Filter,
    answers: Sequence[Answer],
    judged: Mapping[str, Judged],
    examples: Sequence[Example],
    counts: npt.NDArray[np.int64],
) -> Figures | None:
    """Return what a cascade keeps of its expert and what it costs; None for other kinds."""
    weights = each.weights
    if not isinstance(weights, CascadeCheckpoint):
        return None
    mine, expert = judged[each.checkpoint], judged[weights.expert]
    low, high = intervals(redrawn(mine, expert, each.spec, counts, ["tier_agreement"]))["tier_agreement"]
    asked = np.array([answer.stage == EXPERT for answer in answers])
    natural = np.array([example.stratum == "natural" for example in examples])
    articles = [as_article(example) for example in examples]
    student = figures(judged[weights.student], expert, each.spec, ["tier_agreement", "medium_recall"])
    return {
        **figures(mine, expert, each.spec, ["tier_agreement", "medium_recall"]),
        **{f"student_{key}": value for key, value in student.items()},
        "tier_agreement_from": low,
        "tier_agreement_to": high,
        "expert_share": float(asked.mean()),
        "natural_expert_share": float(asked[natural].mean()) if natural.any() else None,
        "screen_share": float(np.mean([answer.stage == SCREEN for answer in answers])),
        **cost_of(each, weights.student, weights.expert, float(asked.mean()), articles),
    }


def having(filters: Path, checkpoint: str) -> list[Filter]:
    """Return the filters under a `filters/` folder that have a checkpoint, on it.

    Raises:
        SettingError: when none has.
    """
    name = checkpoint.replace("-", "_")
    found = [Filter(folder) for folder in newest_folders(filters)]
    on_it = [each.with_checkpoint(name) for each in found if name in each.spec.checkpoints]
    if not on_it:
        raise SettingError(f"no filter under {filters} has a checkpoint {checkpoint!r}")
    return on_it


def labelled(data: Path, each: Filter) -> list[Example]:
    """Read the labelled articles as the filter's first checkpoint does, so that all are held to the same ones."""
    first = each.with_checkpoint(Filter(each.folder).parts[0].checkpoint)
    scorer: Any = first.scorer
    found = read_examples(data, [each.spec], scorer.preprocessor)
    first.unload()
    return found
