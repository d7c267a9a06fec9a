"""Running the shipped backbone and heads over labelled articles, as production does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from distilled_filters.article import Article
from distilled_filters.decision import apply_gate, weighted_average
from distilled_filters.errors import RecordError, SettingError
from distilled_filters.filter import Filter
from distilled_filters.parallel import ordered_map
from distilled_filters.preprocess import Preprocessor, Window
from distilled_filters.registry import newest_folders
from distilled_filters.scorers.lexical import Bag
from distilled_filters.scorers.linear import LinearScorer
from distilled_filters.scorers.onnx import Backbone, open_backbone
from distilled_filters.spec import LensSpec, LinearCheckpoint
from distilled_filters.threads import thread_count

__all__ = [
    "averages",
    "embed",
    "linear",
    "medium_and_above",
    "open_filters",
    "open_shared",
    "raw_scores",
    "read_unlabelled",
    "student_of",
]

FloatArray = npt.NDArray[np.float64]
Embeddings = npt.NDArray[np.float32]


def open_filters(filters: Path) -> tuple[list[Filter], Backbone, Preprocessor]:
    """Open the newest version of every filter under a `filters/` folder, and what they share.

    Raises:
        SettingError: when the filters do not share one backbone and preprocessing, or one is no encoder student.
    """
    found = [Filter(folder) for folder in newest_folders(filters)]
    return found, *open_shared(found)


def open_shared(found: Sequence[Filter]) -> tuple[Backbone, Preprocessor]:
    """Open the backbone that filters share, and how they read articles.

    Raises:
        SettingError: when the filters do not share one backbone and preprocessing, or one is no encoder student.
    """
    kinds = {(linear(each).backbone_sha256, each.spec.preprocessing) for each in found}
    if len(kinds) != 1:
        raise SettingError("these filters do not share one backbone and one [preprocessing]; handle them apart")
    backbone = open_backbone(found[0].backbone_folder, linear(found[0]).backbone_sha256, found[0].name)
    return backbone, Preprocessor(found[0].spec.preprocessing, backbone.tokenizer)


def embed(backbone: Backbone, windows: Sequence[Window], label: str) -> Embeddings:
    """Return the embeddings (n, dims) of windows, with a progress bar."""
    if not windows:
        return np.zeros((0, backbone.spec.dims), dtype=np.float32)
    rows = ordered_map(lambda window: backbone.embed(window.ids), windows, thread_count())
    return np.stack(list(tqdm(rows, desc=label, total=len(windows), unit="article", disable=None)))


def linear(each: Filter) -> LinearCheckpoint:
    """Return the spec's entry for a filter's encoder student.

    Raises:
        SettingError: when the filter's checkpoint is of another kind.
    """
    if not isinstance(each.weights, LinearCheckpoint):
        raise _no_student(each)
    return each.weights


def student_of(each: Filter) -> LinearScorer:
    """Return a filter's opened encoder student.

    Raises:
        SettingError: when the filter's checkpoint is of another kind.
    """
    scorer = each.scorer
    if not isinstance(scorer, LinearScorer):
        raise _no_student(each)
    return scorer


def _no_student(each: Filter) -> SettingError:
    return SettingError(
        f"{each.name}'s checkpoint {each.checkpoint} is no encoder student but {each.weights.kind}; make an "
        "encoder student its default_checkpoint"
    )


def raw_scores(each: Filter, embeddings: Embeddings, bags: Sequence[Bag]) -> FloatArray:
    """Return a filter's uncalibrated dimensions (n, d), 0-10; zeros where its screen ends early."""
    student, nothing = student_of(each), [0.0] * len(each.spec.dimensions)
    looks = [student.first_look(bag) for bag in bags]
    return np.array(
        [
            nothing if look is None else student.head(embedding, look)
            for embedding, look in zip(embeddings, looks, strict=True)
        ]
    )


def averages(dimensions: FloatArray, spec: LensSpec) -> FloatArray:
    """Return the gated weighted averages (n,) of dimensions (n, d)."""
    rows = dimensions.tolist()
    return np.array([apply_gate(weighted_average(row, spec), row, spec)[0] for row in rows])


def medium_and_above(dimensions: FloatArray, spec: LensSpec) -> npt.NDArray[np.bool_]:
    """Tell (n,) which articles with these dimensions (n, d) are of the medium tier or above."""
    return averages(dimensions, spec) >= spec.medium


def read_unlabelled(path: Path, *preprocessors: Preprocessor) -> Iterator[tuple[Window, ...]]:
    """Yield the articles in a JSONL file that all preprocessors can read: the window that each makes of one."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                article = Article.parse(json.loads(line))
                yield tuple(preprocessor(article) for preprocessor in preprocessors)
            except RecordError:
                continue
