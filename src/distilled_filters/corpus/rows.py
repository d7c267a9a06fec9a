"""One row of output a record: nested for JSON lines, flat for tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distilled_filters.article import Article
from distilled_filters.columns import score_cells, score_columns
from distilled_filters.errors import RecordError
from distilled_filters.filter import Filter
from distilled_filters.result import Score
from distilled_filters.status import Status

__all__ = ["Row", "flat_columns", "record_title"]

_RECORD_COLUMNS: Mapping[str, type] = {"row": int, "id": str, "title": str}

# They stand in the row itself, or are the same for the whole run.
_LEFT_OUT = ("id", "filter", "provenance")


@dataclass(frozen=True, slots=True)
class Row:
    """The scores of one record, by filter."""

    row: int
    title: str | None
    scores: Mapping[str, Score]
    source: int = 0
    """The number of its input."""
    index: int = 0
    """Its number within that input."""

    @property
    def id(self) -> str | None:
        """The record's own `id`."""
        return _encodable(next(iter(self.scores.values())).id)

    @property
    def status(self) -> Status:
        """`ok` where every filter scored the record, else the first reason why one did not."""
        return next((score.status for score in self.scores.values() if score.status is not Status.OK), Status.OK)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types: row, id, title, and the scores by filter."""
        scores = {
            name: {key: value for key, value in score.to_dict().items() if key not in _LEFT_OUT}
            for name, score in self.scores.items()
        }
        return {"row": self.row, "id": self.id, "title": _encodable(self.title), "scores": scores}

    def flat(self) -> dict[str, Any]:
        """Return the row by the columns of `flat_columns`; what a record lacks is left out."""
        cells: dict[str, Any] = {"row": self.row, "id": self.id, "title": _encodable(self.title)}
        for score in self.scores.values():
            cells |= {
                column: round(cell, 4) if isinstance(cell, float) else cell
                for column, cell in score_cells(score).items()
            }
        return cells


def flat_columns(filters: Sequence[Filter]) -> dict[str, type]:
    """Return the columns of a table of these filters' scores, each with the type of its cells."""
    return {**_RECORD_COLUMNS, **score_columns(filters)}


def record_title(record: object) -> str | None:
    """Return a record's title, even where the record is otherwise unusable."""
    try:
        return Article.parse(record).title or None
    except RecordError:
        title = record.get("title") if isinstance(record, Mapping) else None
        return title if isinstance(title, str) else None


def _encodable(text: str | None) -> str | None:
    """Replace lone surrogates, which JSON input can hold and UTF-8 output cannot."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")
