"""A checkpoint's raw answers to many articles, whatever its kind; slow ones are kept between runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from distilled_filters.article import Article
from distilled_filters.errors import RecordError
from distilled_filters.filter import Filter
from distilled_filters.scorers.base import Reading
from distilled_filters.training.evaluate.measure import cache_folder

__all__ = ["raw_answers"]

FloatArray = npt.NDArray[np.float64]


def raw_answers(each: Filter, articles: Sequence[Article], label: str, cache: Path | None = None) -> FloatArray:
    """Return a filter's uncalibrated dimensions (n, d), 0-10; what it cannot read is out of scope.

    Every answer is kept as it comes, so that a stopped run goes on where it was.

    Args:
        each: The filter on the checkpoint that is asked.
        articles: What it is asked.
        label: What the progress bar says.
        cache: Where answers are kept, by weights, window and the filter's `precision`; `cache_folder()` by default.
    """
    path = (cache or cache_folder()) / f"{_identity(each)}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with _kept(path) as (known, file):
        for article in tqdm(articles, desc=label, unit="article", disable=None):
            key = hashlib.sha256(f"{article.title}\n{article.content}".encode(errors="replace")).hexdigest()
            if key not in known:
                try:
                    known[key] = list(each.scorer(Reading(article)).raw)
                except RecordError:
                    known[key] = [0.0] * len(each.spec.dimensions)
                file.write(json.dumps([key, known[key]]) + "\n")
                file.flush()
            rows.append(known[key])
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(each.spec.dimensions))


def _identity(each: Filter) -> str:
    """Tell what answers depend on beside the article: the weights, and what of it is read."""
    said = f"{each.weights.head.sha256} {each.weights.reads(each.spec.preprocessing)!r} {each.precision}"
    return hashlib.sha256(said.encode()).hexdigest()


@contextmanager
def _kept(path: Path) -> Iterator[tuple[dict[str, list[float]], TextIO]]:
    known: dict[str, list[float]] = {}
    whole = 0
    if path.exists():
        with path.open("rb") as lines:
            for line in lines:
                # What a kill left half written is worked out again.
                if not line.endswith(b"\n"):
                    break
                key, raw = json.loads(line)
                known[key], whole = raw, whole + len(line)
    with path.open("a", encoding="utf-8") as file:
        file.truncate(whole)
        yield known, file
