"""One further checkpoint of filters: its tables fitted, and its figures beside the default checkpoint's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distilled_filters.article import Article
from distilled_filters.errors import SettingError
from distilled_filters.files import write_json
from distilled_filters.filter import Filter
from distilled_filters.registry import newest_folders
from distilled_filters.spec import FileRef, LinearCheckpoint
from distilled_filters.training.answers import raw_answers
from distilled_filters.training.calibrate import fit_tables
from distilled_filters.training.data import Example, read_examples, select, true_dimensions
from distilled_filters.training.evaluate.baselines import as_article
from distilled_filters.training.evaluate.bootstrap import intervals, leads, redrawn, resample
from distilled_filters.training.evaluate.figures import HEADLINES, Figures, Judged, coverage, figures, judge
from distilled_filters.training.evaluate.measure import as_judged, calibration_of
from distilled_filters.training.folder import write_checkpoint

__all__ = ["Beside", "calibrate_checkpoint", "evaluate_checkpoint"]

# Enough for percentiles; a language model on a processor reads a few articles a second.
_MOST_UNLABELLED = 600


@dataclass(frozen=True)
class Beside:
    """One filter's checkpoint beside its default one, on one split.

    `methods` are figures by checkpoint; `leads_95` the interval of the further one's lead
    on the same resamples, above zero is better.
    """

    filter: str
    split: str
    n: int
    methods: dict[str, Figures]
    intervals_95: dict[str, list[float]]
    leads_95: dict[str, list[float]]
    interval_coverage: Figures
    answers: dict[str, Judged] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {key: value for key, value in vars(self).items() if key != "answers"}


def calibrate_checkpoint(data: Path, filters: Path, checkpoint: str, cache: Path | None = None) -> dict[str, list[str]]:
    """Fit and write the tables of an expert's checkpoint; return the dimensions with an isotonic table, by filter.

    The same splits as for students: isotonic tables on calibration, kept where they help on
    validation; intervals on validation; percentiles on its natural rows and unlabelled ones.

    Raises:
        SettingError: when no filter has such a checkpoint, or it is a student's.
    """
    kept = {}
    for each in _having(filters, checkpoint):
        weights = each.weights
        if isinstance(weights, LinearCheckpoint):
            raise SettingError(f"{each.name}: {checkpoint} is {weights.kind}; leave out --checkpoint")
        if weights.hub:
            raise SettingError(f"{each.name}: {checkpoint} lies on the Hub; calibrate it where it is made")
        examples = _examples(data, each)
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
        each.unload()
        folder = (each.folder / weights.head.path).parent
        kept[each.name] = fit_tables(each, folder, fitting, fitted, judging, judged, pool)
        files = {key: each.folder / ref.path for key, ref in weights if isinstance(ref, FileRef)}
        fields = weights.model_dump(exclude={*files, "hub"}, exclude_defaults=True)
        write_checkpoint(each.folder, each.checkpoint, fields, **files)
    return kept


def evaluate_checkpoint(
    data: Path, filters: Path, checkpoint: str, split: str = "test", cache: Path | None = None
) -> list[Beside]:
    """Measure a checkpoint beside its filters' default one; write `metrics.json` beside its head.

    Raises:
        SettingError: when no filter has such a checkpoint, or the split holds no article.
    """
    found = []
    for each in _having(filters, checkpoint):
        student = Filter(each.folder)
        examples = select(_examples(data, student), split)
        if not examples:
            raise SettingError(f"no article of {data} is in the split {split!r}")
        articles = [as_article(example) for example in examples]
        answers = {
            one.checkpoint: as_judged(one, raw_answers(one, articles, f"{one.name}: {one.checkpoint}", cache))
            for one in (student, each)
        }
        truth = judge(true_dimensions(examples, each.spec), each.spec)
        counts = resample([example.cluster for example in examples])
        drawn = {name: redrawn(judged, truth, each.spec, counts, HEADLINES) for name, judged in answers.items()}
        beside = Beside(
            filter=each.name,
            split=split,
            n=len(examples),
            methods={name: figures(judged, truth, each.spec) for name, judged in answers.items()},
            intervals_95=intervals(drawn[each.checkpoint]),
            leads_95=leads(drawn[each.checkpoint], drawn[student.checkpoint]),
            interval_coverage=coverage(calibration_of(each), answers[each.checkpoint], truth),
            answers=answers,
        )
        for one in (student, each):
            one.unload()
        write_json((each.folder / each.weights.head.path).parent / "metrics.json", beside.to_dict())
        found.append(beside)
    return found


def _having(filters: Path, checkpoint: str) -> list[Filter]:
    name = checkpoint.replace("-", "_")
    found = [Filter(folder) for folder in newest_folders(filters)]
    having = [each.with_checkpoint(name) for each in found if name in each.spec.checkpoints]
    if not having:
        raise SettingError(f"no filter under {filters} has a checkpoint {checkpoint!r}")
    return having


def _examples(data: Path, each: Filter) -> list[Example]:
    """Read the labelled articles as the filter's student does, so that all checkpoints are held to the same ones.

    A filter without a student, such as one on an imported adapter, is asked how its own checkpoint reads.
    """
    student = Filter(each.folder)
    reads: Any = (student if isinstance(student.weights, LinearCheckpoint) else each).scorer
    return read_examples(data, [each.spec], reads.preprocessor)
