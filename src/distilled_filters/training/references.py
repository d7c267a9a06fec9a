"""Articles that an export is checked on: those written for the project, or a validation split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distilled_filters.article import Article
from distilled_filters.errors import RecordError
from distilled_filters.golden import read_golden
from distilled_filters.preprocess import Preprocessor, Window

__all__ = ["Reference", "golden_articles", "validation_articles", "window_of"]

# Enough for a mean of a few thousandths, and minutes on two cores.
_MOST = 600


@dataclass(frozen=True)
class Reference:
    """An article and the language it is in."""

    article: Article
    language: str


def golden_articles(folders: Sequence[Path]) -> list[Reference]:
    """Return the golden articles of those filter folders that have some."""
    rows = [row for folder in folders if (folder / "golden.jsonl").is_file() for row in read_golden(folder)]
    return [Reference(Article.parse(row), row["language"]) for row in rows]


def validation_articles(data: Path) -> list[Reference]:
    """Return at most 600 articles of a data folder's validation split, evenly spaced."""
    with (data / "articles.jsonl").open(encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["split"] == "validation"]
    return [Reference(Article.parse(row), row["language"]) for row in rows[:: -(-len(rows) // _MOST) or 1]]


def window_of(reference: Reference, preprocessor: Preprocessor) -> Window | None:
    """Return what is read of an article, None where it cannot be."""
    try:
        return preprocessor(reference.article)
    except RecordError:
        return None
