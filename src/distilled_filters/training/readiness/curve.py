"""Would more labels help? Quality of a baseline against the number of training articles."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from distilled_filters.preprocess import Window
from distilled_filters.training.data import DatasetError, Example, average_labels, true_dimensions
from distilled_filters.training.readiness.material import Material

__all__ = ["FIGURES", "CurvePoint", "learning_curve"]

FIGURES = ("medium_average_precision", "scope_average_precision", "in_scope_dimension_mae")
SHARES = (0.1, 0.25, 0.5, 1.0)
_DRAWS = 3
_FEWEST = 50


@dataclass(frozen=True)
class CurvePoint:
    """The baseline on a share of the training articles: means over lenses and draws, by figure and by lens."""

    share: float
    articles: int
    figures: dict[str, float | None]
    lenses: dict[str, float | None]


def learning_curve(material: Material, seed: int = 20) -> list[CurvePoint]:
    """Fit TF-IDF ridge on growing shares of the training split, three draws each; judge it on validation.

    A student of a neural network stands higher, but a curve that still rises for words
    alone says that the labels have more to give. Test articles are not looked at.

    Raises:
        DatasetError: when the rows name no splits, or one is too small.
    """
    training, judged = (_examples(material, split) for split in ("train", "validation"))
    if min(len(training), len(judged)) < _FEWEST:
        raise DatasetError(
            f"a learning curve needs {_FEWEST} labelled articles in train and in validation; there are "
            f"{len(training)} and {len(judged)}. Make splits with `distillery prepare`"
        )
    # Beside torch, which takes seconds to import.
    from distilled_filters.training.evaluate.baselines import tfidf_ridge
    from distilled_filters.training.evaluate.figures import figures, judge, means

    draws = [(share, draw) for share in SHARES for draw in range(_DRAWS if share < 1 else 1)]
    measured: dict[float, list[dict[str, dict[str, float | None]]]] = {share: [] for share in SHARES}
    truths = {lens.name: judge(true_dimensions(judged, lens), lens) for lens in material.lenses}
    for share, draw in tqdm(draws, desc="learning curve", unit="fit", disable=None):
        part = random.Random(f"{seed} {draw}").sample(training, round(len(training) * share))
        answers = tfidf_ridge(part, judged, material.lenses)
        measured[share].append(
            {lens.name: figures(answers[lens.name], truths[lens.name], lens, FIGURES) for lens in material.lenses}
        )
    return [
        CurvePoint(
            share=share,
            articles=round(len(training) * share),
            figures=means([means(list(each.values())) for each in found]),
            lenses={
                lens.name: means([each[lens.name] for each in found])["medium_average_precision"]
                for lens in material.lenses
            },
        )
        for share, found in measured.items()
    ]


def _examples(material: Material, split: str) -> Sequence[Example]:
    """Return a split's articles for a method that reads text and no window."""
    return [
        Example(
            id=row.id,
            split=split,
            stratum=row.stratum or "",
            language=row.language or "",
            cluster=row.cluster or row.id,
            text=f"{row.article.title}\n{row.article.content}",
            window=Window(np.empty(0, dtype=np.int64), row.tokens, np.empty(0, dtype=np.int32)),
            labels={lens.name: average_labels(row.id, material.runs[row.id], lens) for lens in material.lenses},
        )
        for row in material.rows
        if row.split == split and row.id in material.runs
    ]
