"""A pool of unlabelled articles as a strategy's candidates: read, embedded once, seen by every filter."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilled_filters.article import Article, record_id
from distilled_filters.corpus.sources import find_sources, read_corpus
from distilled_filters.decision import check_finite
from distilled_filters.errors import RecordError, SettingError
from distilled_filters.filter import Filter
from distilled_filters.preprocess import Preprocessor, Window
from distilled_filters.scorers.lexical import bag_of
from distilled_filters.scorers.onnx import Backbone
from distilled_filters.training.active.strategies import Candidates, disagreement_of
from distilled_filters.training.predict import Embeddings, averages, embed, raw_scores, student_of

__all__ = ["Labelled", "Pool", "candidates_of", "read_labelled", "read_pool", "read_seeds"]


@dataclass(frozen=True)
class Labelled:
    """What needs no further label: ids, and the articles where their text is at hand."""

    ids: frozenset[str]
    articles: Sequence[Article]


@dataclass(frozen=True)
class Pool:
    """Articles that may be labelled.

    Attributes:
        rows: As they came, whole.
        articles: What was read of them, in the same order.
        windows: What the encoder reads of them.
        left_out: Why rows of the file are not among them, counted.
    """

    rows: list[Mapping[str, Any]]
    articles: list[Article]
    windows: list[Window]
    left_out: Counter[str]


def read_labelled(paths: Iterable[Path]) -> Labelled:
    """Read what is labelled: JSON lines with an `id`, or data folders.

    Raises:
        SettingError: for a file in which no row has an id.
    """
    ids: set[str] = set()
    articles = []
    for path in paths:
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        # In a data folder these have no label yet, or never will.
        files = [file for file in files if file.name not in ("unlabelled.jsonl", "rejected.jsonl")]
        found = [record.value for record in read_corpus(find_sources([str(file) for file in files]))]
        known = [row for row in found if record_id(row) is not None]
        if not known:
            raise SettingError(f"{path} names nothing that is labelled: no row in it has an id")
        ids.update(filter(None, map(record_id, known)))
        for row in known:
            try:
                articles.append(Article.parse(row))
            except RecordError:  # a label row; its article may stand elsewhere
                continue
    return Labelled(frozenset(ids), articles)


def read_pool(
    files: Sequence[str], preprocessor: Preprocessor, labelled: frozenset[str], sample: int | None, seed: int
) -> Pool:
    """Read the articles of a corpus that are not labelled and that the filters can read.

    Args:
        files: As for `distillery score`.
        preprocessor: How the filters read.
        labelled: Ids to leave out.
        sample: Read no more than so many rows, drawn by id; None for all.
        seed: Of that draw.

    Raises:
        SettingError: when nothing is left to choose from.
    """
    left_out: Counter[str] = Counter()
    seen = set(labelled)
    records = read_corpus(find_sources(files))

    def fresh() -> Iterable[tuple[int, Any]]:
        for record in records:
            id_ = record_id(record.value)
            if isinstance(record.value, RecordError):
                left_out[record.value.status.value] += 1
            elif id_ is None:
                left_out["no id"] += 1
            elif id_ in seen:
                left_out["labelled" if id_ in labelled else "repeated id"] += 1
            else:
                seen.add(id_)
                yield record.row, record.value

    drawn = fresh()
    if sample is not None:
        drawn = sorted(heapq.nsmallest(sample, drawn, key=lambda each: _draw(seed, each[1])), key=lambda each: each[0])
    rows, articles, windows = [], [], []
    for _, row in drawn:
        try:
            article = Article.parse(row)
            windows.append(preprocessor(article))
        except RecordError as error:
            left_out[error.status.value] += 1
        else:
            rows.append(row)
            articles.append(article)
    if not rows:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items()) or "the files are empty"
        raise SettingError(f"nothing in {', '.join(files)} can be chosen: {counts}")
    return Pool(rows, articles, windows, left_out)


def read_seeds(path: Path, preprocessor: Preprocessor, backbone: Backbone) -> Embeddings:
    """Return the embeddings (m, dims) of a few known positives.

    Raises:
        SettingError: naming the first one that cannot be read, or when there is none.
    """
    windows = []
    for record in read_corpus(find_sources([str(path)])):
        try:
            if isinstance(record.value, RecordError):
                raise record.value
            windows.append(preprocessor(Article.parse(record.value)))
        except RecordError as error:
            raise SettingError(f"{path}: seed {record.row + 1} cannot be read: {error}") from error
    if not windows:
        raise SettingError(f"{path} holds no seed; give it a few articles of the kind you look for, one a line")
    return embed(backbone, windows, "seeds")


def candidates_of(
    each: Filter | None,
    pool: Pool,
    embeddings: Embeddings,
    seeds: Embeddings | None = None,
    committee: Sequence[Filter] = (),
) -> Candidates:
    """Return what a filter says of a pool; without one, embeddings are all that is known.

    Args:
        each: The filter, on the backbone of the embeddings.
        pool: The articles.
        embeddings: Theirs, (n, dims).
        seeds: Those of known positives, (m, dims).
        committee: Other filters of the same lens, to disagree with; its own first look by default.

    Raises:
        RecordError: when the filter's answers are not finite.
        SettingError: when the filter's checkpoint is no encoder student.
    """
    if each is None:
        return Candidates(len(pool.rows), embeddings=embeddings, seeds=seeds)
    bags, head = [bag_of(window.text) for window in pool.windows], student_of(each).head
    looks = np.array([head.first_look(bag) for bag in bags])
    raw = raw_scores(each, embeddings, bags)
    for row in raw:
        check_finite(row, each.spec.dimension_names)
    own = averages(raw, each.spec)
    others = [_answers(member, pool) for member in committee] or [looks]
    return Candidates(
        size=len(pool.rows),
        medium=each.spec.medium,
        averages=own,
        scopes=np.array([head.scope(*pair) for pair in zip(embeddings, looks, strict=True)]),
        disagreement=disagreement_of([own, *others]),
        embeddings=embeddings,
        seeds=seeds,
    )


def _answers(member: Filter, pool: Pool) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return another filter's averages; what it cannot read it puts at the end."""
    return np.array([score.raw_weighted_average or 0.0 for score in member.score_iter(pool.articles)])


def _draw(seed: int, row: object) -> str:
    return hashlib.sha256(json.dumps([seed, record_id(row)]).encode()).hexdigest()
