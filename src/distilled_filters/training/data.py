"""Labelled articles as the student sees them: windows, targets, splits.

A data folder holds `articles.jsonl` (`id, title, content, language, stratum,
cluster, split`) and `labels.jsonl` (`{"id", "runs": [{lens: [score, ...]}]}`, one
entry a reading, dimensions in the order of the lens's spec; an absent lens was out of
scope, a lens that is null was not judged in that reading).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distilled_filters.article import Article
from distilled_filters.errors import DistilledFiltersError, RecordError, SettingError
from distilled_filters.preprocess import Preprocessor, Window
from distilled_filters.registry import newest_folders
from distilled_filters.scorers.lexical import Bag, bag_of
from distilled_filters.spec import LensSpec, Preprocessing, read_lens_spec

__all__ = [
    "DatasetError",
    "Example",
    "Labels",
    "Runs",
    "SplitLeakError",
    "average_labels",
    "read_examples",
    "read_lenses",
    "read_runs",
    "select",
    "shared_preprocessing",
    "true_dimensions",
]

FloatArray = npt.NDArray[np.float32]
# One article's readings by the oracle: the scores of every lens in scope.
Runs = list[dict[str, list[float] | None]]

# The share of training clusters that only calibration sees.
_CALIBRATION_SHARE = 0.08


class DatasetError(DistilledFiltersError, ValueError):
    """A data folder, or what is to become one, cannot be used."""


class SplitLeakError(DatasetError):
    """Copies of one article lie in two splits, so that held-out figures would flatter the student."""


@dataclass(frozen=True)
class Labels:
    """One lens's labels of one article, averaged over the oracle's readings.

    `dimensions` (d,) are expected scores, 0-10; `scope` is the share of readings that
    put the article in scope.
    """

    scope: float
    dimensions: FloatArray


@dataclass(frozen=True)
class Example:
    """One labelled article, ready for a student."""

    id: str
    split: str
    stratum: str
    language: str
    cluster: str
    text: str
    window: Window
    labels: dict[str, Labels]

    @property
    def bag(self) -> Bag:
        """What a first look sees."""
        return bag_of(self.window.text)


def read_lenses(filters: Path) -> list[LensSpec]:
    """Read the newest version of every lens under a `filters/` folder, by name."""
    return [read_lens_spec(folder / "filter.toml") for folder in newest_folders(filters)]


def shared_preprocessing(lenses: Sequence[LensSpec]) -> Preprocessing:
    """Return the one preprocessing of all lenses.

    Raises:
        SettingError: when lenses that are to share an encoder read articles differently.
    """
    settings = {lens.preprocessing for lens in lenses}
    if len(settings) != 1:
        raise SettingError("filters that are trained together must share [preprocessing]; theirs differ")
    return settings.pop()


def read_runs(data: Path) -> dict[str, Runs]:
    """Return every article's readings by the oracle, by the article's id."""
    return {row["id"]: row["runs"] for row in _rows(data / "labels.jsonl")}


def read_examples(data: Path, lenses: Sequence[LensSpec], preprocessor: Preprocessor) -> list[Example]:
    """Read a data folder; articles that the preprocessor refuses are left out, as in production.

    Raises:
        SplitLeakError: when rows of one cluster lie in two splits.
        DatasetError: when a label has another number of dimensions, or no reading judged a lens.
    """
    runs = read_runs(data)
    examples = []
    first_of_cluster: dict[str, dict[str, Any]] = {}
    for row in _rows(data / "articles.jsonl"):
        first = first_of_cluster.setdefault(row["cluster"], row)
        if first["split"] != row["split"]:
            raise SplitLeakError(
                f"{data}: cluster {row['cluster']!r} lies in two splits: {first['id']!r} is {first['split']}, "
                f"{row['id']!r} is {row['split']}. Make the folder with `distillery prepare`"
            )
        if row["id"] not in runs:
            continue
        article = Article.parse(row)
        try:
            window = preprocessor(article)
        except RecordError:
            continue
        examples.append(
            Example(
                id=row["id"],
                split=_split(row),
                stratum=row["stratum"],
                language=row["language"],
                cluster=str(row["cluster"]),
                text=f"{article.title}\n{article.content}",
                window=window,
                labels={lens.name: average_labels(row["id"], runs[row["id"]], lens) for lens in lenses},
            )
        )
    return examples


def select(examples: Sequence[Example], split: str) -> list[Example]:
    """Return the examples of one split: train, calibration, validation or test."""
    return [example for example in examples if example.split == split]


def true_dimensions(examples: Sequence[Example], lens: LensSpec) -> npt.NDArray[np.float64]:
    """Return the oracle's scores on one lens, (n, d), 0-10."""
    return np.array([example.labels[lens.name].dimensions for example in examples], dtype=np.float64)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines)


def _split(row: dict[str, Any]) -> str:
    """Set a fixed share of the training clusters aside for calibration, near-duplicates together."""
    digest = int(hashlib.sha256(str(row["cluster"]).encode()).hexdigest()[:8], 16)
    aside = row["split"] == "train" and row["stratum"] != "audit" and digest / 0xFFFFFFFF < _CALIBRATION_SHARE
    return "calibration" if aside else str(row["split"])


def average_labels(id_: str, runs: Runs, lens: LensSpec) -> Labels:
    """Return one article's labels of one lens, the mean of its readings.

    Raises:
        DatasetError: when no reading judged the lens, or one has another number of dimensions.
    """
    zeros = [0.0] * len(lens.dimensions)
    judged = [scores for run in runs if (scores := run.get(lens.name, zeros)) is not None]
    if not judged:
        raise DatasetError(f"no reading of {id_!r} judged {lens.name}; train with a --filters folder without that lens")
    if any(len(scores) != len(zeros) for scores in judged):
        found = sorted({len(scores) for scores in judged})
        raise DatasetError(f"{lens.name} has {len(zeros)} dimensions; the labels of {id_!r} have {found}")
    readings = np.array(judged, dtype=np.float32)
    return Labels(scope=float(readings.any(axis=1).mean()), dimensions=readings.mean(axis=0))
