"""The articles worth judging: where student and oracle are far apart, or the student is least sure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from distilled_filters.corpus.sources import find_sources, read_corpus
from distilled_filters.decision import verdict
from distilled_filters.errors import SettingError
from distilled_filters.filter import Filter
from distilled_filters.spec import LensSpec
from distilled_filters.training.data import read_runs
from distilled_filters.training.prepare.labels import mean_scores

__all__ = ["SPLITS", "Case", "Labelled", "by_stand_in", "by_student", "doubtful", "read_labelled_rows"]

FloatArray = npt.NDArray[np.float64]

SPLITS = ("train", "validation")
"""What is judged by default: advice on the test split would end up in the figures it is to give."""

_FOLDS = 5


@dataclass(frozen=True)
class Labelled:
    """An article, as its row came, and the oracle's mean scores (d,), 0-10."""

    row: Mapping[str, Any]
    oracle: list[float]


@dataclass(frozen=True)
class Case:
    """A labelled article with the student's scores (d,), 0-10.

    `apart` is the distance of the two weighted averages; `unsure` the width of the student's
    interval, 0 where it gives none.
    """

    row: Mapping[str, Any]
    oracle: list[float]
    student: list[float]
    apart: float
    unsure: float


def read_labelled_rows(data: Path, lens: LensSpec, splits: Sequence[str]) -> list[Labelled]:
    """Read the articles of a data folder that are labelled for a lens, in some of its splits.

    Raises:
        SettingError: when there is none.
    """
    runs = read_runs(data)
    found = []
    for record in read_corpus(find_sources([str(data / "articles.jsonl")])):
        row: Any = record.value
        if isinstance(row, dict) and row.get("split") in splits and row.get("id") in runs:
            scores = mean_scores(runs[row["id"]], lens)
            if scores is not None:
                found.append(Labelled(row, scores))
    if not found:
        raise SettingError(f"{data} has no article labelled for {lens.name} in the splits {', '.join(splits)}")
    return found


def by_student(each: Filter, labelled: Sequence[Labelled]) -> Iterator[Case]:
    """Yield the cases of articles that a filter can score."""
    names = each.spec.dimension_names
    scores = each.score_iter([one.row for one in labelled])
    progress = tqdm(scores, desc="student", total=len(labelled), unit="article", disable=None)
    for row, score in zip(labelled, progress, strict=True):
        if score.dimensions is not None and score.interval is not None:
            student = [score.dimensions[name] for name in names]
            yield _case(row, student, each.spec, score.interval[1] - score.interval[0])


def by_stand_in(lens: LensSpec, labelled: Sequence[Labelled]) -> Iterator[Case]:
    """Yield the cases of a lens without a student: ridge regressions on words that did not see the article stand in."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    groups = [str(one.row.get("cluster", one.row["id"])) for one in labelled]
    if len(set(groups)) < _FOLDS:
        raise SettingError(f"{len(set(groups))} labelled articles are too few to say which of them look wrong")
    texts = [f"{one.row.get('title', '')}\n{one.row.get('content', '')}" for one in labelled]
    ridge = make_pipeline(TfidfVectorizer(sublinear_tf=True, strip_accents="unicode"), Ridge(alpha=1.0))
    oracle = np.array([one.oracle for one in labelled])
    answers: FloatArray = cross_val_predict(ridge, texts, oracle, groups=groups, cv=GroupKFold(_FOLDS))
    for one, answer in zip(labelled, np.clip(answers, 0.0, 10.0).tolist(), strict=True):
        yield _case(one, answer, lens, 0.0)


def doubtful(cases: Sequence[Case], count: int) -> list[Case]:
    """Return `count` cases: the farthest apart and the least sure in turn, each once."""
    apart = sorted(range(len(cases)), key=lambda place: -cases[place].apart)
    unsure = sorted(range(len(cases)), key=lambda place: -cases[place].unsure)
    # An article that nobody is unsure about is not worth a question for that.
    unsure = [place for place in unsure if cases[place].unsure > 0]
    order = dict.fromkeys(place for place in chain(*zip_longest(apart, unsure)) if place is not None)
    return [cases[place] for place in list(order)[:count]]


def _case(labelled: Labelled, student: list[float], lens: LensSpec, unsure: float) -> Case:
    averages = [verdict(scores, lens)[0] for scores in (student, labelled.oracle)]
    return Case(labelled.row, labelled.oracle, student, abs(averages[0] - averages[1]), unsure)
