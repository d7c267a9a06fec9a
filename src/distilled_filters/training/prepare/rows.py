"""Reading articles and labels row by row: a row is good, or it is rejected with a reason."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from tqdm import tqdm

from distilled_filters.article import Article, record_id
from distilled_filters.corpus.text import parse_json
from distilled_filters.errors import DistilledFiltersError, RecordError
from distilled_filters.preprocess import Preprocessor
from distilled_filters.result import TokenUse
from distilled_filters.spec import LensSpec

__all__ = [
    "ArticleRow",
    "LabelRow",
    "Place",
    "Reason",
    "Rejection",
    "Run",
    "read_articles",
    "read_ids",
    "read_labels",
    "read_lines",
]

Run: TypeAlias = dict[str, list[float] | None]
"""One reading: scores by lens; an absent lens was out of scope, None was not judged."""

R = TypeVar("R")

_SPLITS = ("train", "validation", "test")
_SCALE = 10.0
_SHOWN = 40


class Reason(StrEnum):
    """Why a row is not in the dataset; an article can also have a `Status` of the preprocessor."""

    NOT_JSON = "not_json"
    NO_ID = "no_id"
    INVALID_FIELD = "invalid_field"
    CONFLICTING_ROWS = "conflicting_rows"
    """One id with two contents, so that nobody knows which one the labels mean."""
    NO_READING = "no_reading"
    UNKNOWN_LENS = "unknown_lens"
    WRONG_DIMENSIONS = "wrong_dimensions"
    INVALID_SCORE = "invalid_score"
    NO_ARTICLE = "no_article"
    ARTICLE_REJECTED = "article_rejected"
    INCOMPLETE = "incomplete"
    """Labelled for some of the lenses only."""
    DROPPED = "dropped"
    """The author has it left out, as a judge may advise."""
    HELD_OUT_COPY = "held_out_copy"
    """A new row that is a near copy of a held-out one, which must stay as it is."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands, and its line as it was."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line} of {self.file}"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that is not in the dataset, why, and what to do."""

    kind: str
    id: str | None
    reason: str
    message: str
    place: Place

    def as_row(self) -> dict[str, Any]:
        """Return the line of `rejected.jsonl`; `record` is the row as it was read."""
        return {
            "file": self.place.file, "line": self.place.line, "kind": self.kind, "id": self.id,
            "reason": str(self.reason), "message": self.message, "record": self.place.text,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArticleRow:
    """An article that the preprocessor accepts; optional fields are None where the row has none."""

    id: str
    article: Article
    fields: Mapping[str, Any]
    language: str | None
    stratum: str | None
    cluster: str | None
    split: str | None
    tokens: TokenUse
    place: Place


@dataclass(frozen=True, slots=True)
class LabelRow:
    """Readings of one article: whole runs over all lenses, or one reading of one lens (`lens` is set)."""

    id: str
    runs: tuple[Run, ...]
    lens: str | None
    oracle: str | None
    prompt_sha256: str | None
    place: Place


class _BadRowError(DistilledFiltersError, ValueError):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class _Reader:
    """Reads rows of one kind and keeps what it had to reject."""

    kind: str
    rejected: list[Rejection] = field(default_factory=list)

    def read(self, paths: Sequence[Path], parse: Callable[[Mapping[str, Any], Place], R]) -> Iterator[R]:
        for path in paths:
            for place, value in read_lines(path):
                try:
                    if isinstance(value, RecordError):
                        raise _BadRowError(Reason.NOT_JSON, f"{value}; mend or remove the line")
                    if not isinstance(value, dict):
                        raise _BadRowError(
                            Reason.NOT_JSON, f"{place} is {type(value).__name__} {_shown(value)}, not a JSON object"
                        )
                    yield parse(value, place)
                except _BadRowError as error:
                    self.reject(record_id(value), error.reason, str(error), place)

    def reject(self, id_: str | None, reason: str, message: str, place: Place) -> None:
        self.rejected.append(Rejection(self.kind, id_, reason, message, place))


def read_articles(
    paths: Sequence[Path], preprocessors: Sequence[Preprocessor], *, use_splits: bool
) -> tuple[list[ArticleRow], list[Rejection]]:
    """Read every article that at least one preprocessor accepts; the first one counts its tokens.

    A row that stands twice is read once; with `use_splits` a `split` must be train,
    validation or test.
    """
    reader = _Reader("article")

    def parse(row: Mapping[str, Any], place: Place) -> ArticleRow:
        split = _optional(row, "split", place) if use_splits else None
        if split is not None and split not in _SPLITS:
            raise _BadRowError(
                Reason.INVALID_FIELD, f"{place}: split {split!r} is none of {', '.join(_SPLITS)}; mend or remove it"
            )
        try:
            article = Article.parse(row)
            tokens = _accepted(article, preprocessors)
        except RecordError as error:
            raise _BadRowError(error.status, f"{place}: {error}") from error
        return ArticleRow(
            id=_id(row, place),
            article=article,
            fields=row,
            language=_optional(row, "language", place),
            stratum=_optional(row, "stratum", place),
            cluster=_optional(row, "cluster", place),
            split=split,
            tokens=tokens,
            place=place,
        )

    rows = list(tqdm(reader.read(paths, parse), desc="articles", unit="article", disable=None))
    return _without_conflicts(rows, reader), reader.rejected


def read_labels(
    paths: Sequence[Path], lenses: Mapping[str, LensSpec], lens: str | None
) -> tuple[list[LabelRow], list[Rejection]]:
    """Read labels of both shapes; `lens` is meant where a row of one lens does not name its `filter`."""
    reader = _Reader("label")

    def parse(row: Mapping[str, Any], place: Place) -> LabelRow:
        id_ = _id(row, place)
        if "runs" in row:
            runs, named = _runs(row["runs"], lenses, place), None
        elif "dimensions" in row:
            named, reading = _reading(row, lenses, lens, place)
            runs = ({named: reading},)
        else:
            keys = ", ".join(map(repr, row))
            raise _BadRowError(
                Reason.NO_READING, f"{place}: neither 'runs' nor 'dimensions' in the label; its keys: {keys}"
            )
        return LabelRow(
            id_, runs, named, _optional(row, "oracle", place), _optional(row, "prompt_sha256", place), place
        )

    return list(reader.read(paths, parse)), reader.rejected


def read_ids(paths: Sequence[Path]) -> frozenset[str]:
    """Return the ids that rows of files name.

    Raises:
        DistilledFiltersError: naming the first line without one.
    """
    found = set()
    for path in paths:
        for place, row in read_lines(path):
            if isinstance(row, RecordError):
                raise row
            found.add(_id(row if isinstance(row, dict) else {}, place))
    return frozenset(found)


def read_lines(path: Path) -> Iterator[tuple[Place, object]]:
    """Yield every line that is not empty: its place, and its JSON value or the `RecordError` that it has none."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if content.strip():
                place = Place(str(path), number, content.decode("utf-8", "replace").rstrip("\r\n"))
                yield place, parse_json(content, str(place))


def _id(row: Mapping[str, Any], place: Place) -> str:
    value = row.get("id")
    if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
        return str(value)
    raise _BadRowError(Reason.NO_ID, f"{place}: id is {_shown(value)}; give every row a text of its own as id")


def _optional(row: Mapping[str, Any], key: str, place: Place) -> str | None:
    value = row.get(key)
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise _BadRowError(Reason.INVALID_FIELD, f"{place}: {key} is {_shown(value)}; it must be a text, or be left out")


def _accepted(article: Article, preprocessors: Sequence[Preprocessor]) -> TokenUse:
    refusals = []
    for preprocessor in preprocessors:
        try:
            return preprocessor(article).tokens
        except RecordError as error:
            refusals.append(error)
    raise refusals[0]


def _without_conflicts(rows: Sequence[ArticleRow], reader: _Reader) -> list[ArticleRow]:
    """Keep the first of rows that say the same; reject all rows of an id that says two things.

    `select` copies rows out of a pool and marks them; given together with that pool, the marked row is meant.
    """
    by_id: dict[str, list[ArticleRow]] = {}
    for row in rows:
        by_id.setdefault(row.id, []).append(row)
    kept = []
    for id_, group in by_id.items():
        if len({row.article for row in group}) == 1:
            group = [row for row in group if row.fields.get("selected_by")] or group
        contents = {(row.article, row.language, row.stratum, row.cluster, row.split) for row in group}
        if len(contents) == 1:
            kept.append(group[0])
            continue
        places = "; ".join(str(row.place) for row in group)
        for row in group:
            message = f"id {id_!r} stands for different articles ({places}); keep one, or give the others ids"
            reader.reject(id_, Reason.CONFLICTING_ROWS, message, row.place)
    return kept


def _runs(value: object, lenses: Mapping[str, LensSpec], place: Place) -> tuple[Run, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(run, dict) for run in value):
        raise _BadRowError(
            Reason.NO_READING,
            f'{place}: runs is {_shown(value)}; it must list one object a reading: [{{"lens": [...]}}]',
        )
    return tuple(
        {
            name: None if scores is None else _scores(scores, _known(name, lenses, place), place)
            for name, scores in run.items()
        }
        for run in value
    )


def _reading(
    row: Mapping[str, Any], lenses: Mapping[str, LensSpec], default: str | None, place: Place
) -> tuple[str, list[float]]:
    name = _optional(row, "filter", place) or default
    if name is None:
        raise _BadRowError(Reason.UNKNOWN_LENS, f"{place}: the label names no filter; say which one with --filter NAME")
    spec = _known(name, lenses, place)
    given = row["dimensions"]
    if not isinstance(given, dict) or set(given) != set(spec.dimension_names):
        raise _BadRowError(
            Reason.WRONG_DIMENSIONS,
            f"{place}: {name} is scored on {', '.join(spec.dimension_names)}; the label has {_shown(given)}",
        )
    return name, _scores([given[dimension] for dimension in spec.dimension_names], spec, place)


def _known(name: str, lenses: Mapping[str, LensSpec], place: Place) -> LensSpec:
    if name in lenses:
        return lenses[name]
    near = difflib.get_close_matches(name, lenses, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(lenses)}"
    raise _BadRowError(Reason.UNKNOWN_LENS, f"{place}: no lens {name!r} in the folder of filters; {hint}")


def _scores(value: object, spec: LensSpec, place: Place) -> list[float]:
    if not isinstance(value, list) or len(value) != len(spec.dimensions):
        raise _BadRowError(
            Reason.WRONG_DIMENSIONS,
            f"{place}: {spec.name} has {len(spec.dimensions)} dimensions; the label has {_shown(value)}",
        )
    for name, score in zip(spec.dimension_names, value, strict=True):
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if not number or not math.isfinite(score) or not 0 <= score <= _SCALE:
            raise _BadRowError(
                Reason.INVALID_SCORE,
                f"{place}: {spec.name}.{name} is {_shown(score)}; a score is a number from 0 to 10. Label it again",
            )
    return [float(score) for score in value]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
