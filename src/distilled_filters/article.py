"""What goes in: one record of any accepted shape becomes an `Article`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distilled_filters.errors import RecordError
from distilled_filters.status import Status

__all__ = ["ARTICLE_KEYS", "CONTENT_KEYS", "TITLE_KEYS", "Article", "record_id"]

TITLE_KEYS = ("title", "headline")
CONTENT_KEYS = ("content", "text", "body")
ARTICLE_KEYS = frozenset({"id", *TITLE_KEYS, *CONTENT_KEYS})
"""All keys of a record that are ever read."""


@dataclass(frozen=True, slots=True)
class Article:
    """A title and a body, as text or HTML, with an optional identifier."""

    title: str = ""
    content: str = ""
    id: str | None = None

    @classmethod
    def parse(cls, record: object) -> Article:
        """Read an `Article`, a `str` (a body) or a mapping with `title` and `content`.

        `headline` stands in for `title`; `text` or `body` for `content`. Missing
        titles (None or NaN, as data frames have them) are empty titles.

        Raises:
            RecordError: with `Status.INVALID` for everything else.
        """
        if isinstance(record, Article):
            return cls(_text(record.title, "title"), _text(record.content, "content"), record.id)
        if isinstance(record, str):
            return cls(content=record)
        if not isinstance(record, Mapping):
            raise _invalid(f"an article is a mapping, a str or an Article, not {type(record).__name__}")
        title = _first(record, TITLE_KEYS) or ""
        content = _first(record, CONTENT_KEYS)
        if content is None:
            for key in CONTENT_KEYS:
                if record.get(key) is not None:
                    raise _invalid(f"'{key}' must be a str, not NaN")
            keys = ", ".join(repr(key) for key in list(record)[:6]) or "none"
            raise _invalid(f"no 'content' (or 'text', 'body') in the article; its keys: {keys}")
        return cls(
            title=_text(title, "title"),
            content=_text(content, "content"),
            id=record_id(record),
        )


def record_id(record: object) -> str | None:
    """Return a record's `id` as a string, even where the record is otherwise unusable."""
    if isinstance(record, Article):
        return record.id
    value = record.get("id") if isinstance(record, Mapping) else None
    return None if _is_missing(value) else str(value)


def _first(record: Mapping[object, object], keys: tuple[str, ...]) -> object:
    return next((record[key] for key in keys if not _is_missing(record.get(key))), None)


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _text(value: object, field: str) -> str:
    if isinstance(value, str):
        return value
    shown = "NaN" if _is_missing(value) else type(value).__name__
    remedy = "; decode it first" if isinstance(value, bytes) else ""
    raise _invalid(f"'{field}' must be a str, not {shown}{remedy}")


def _invalid(message: str) -> RecordError:
    return RecordError(Status.INVALID, message)
