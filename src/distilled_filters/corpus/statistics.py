"""What a run found, added up as its rows pass: statuses, tiers by filter, and how much was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel

from distilled_filters.corpus.rows import Row
from distilled_filters.scorers.base import SCREEN

__all__ = ["FilterStatistics", "Statistics"]


class FilterStatistics(BaseModel):
    """Counts over the scores of one filter."""

    statuses: Counter[str] = Counter()
    tiers: Counter[str] = Counter()
    screened: int = 0
    """Scores that the first look alone decided."""


class Statistics(BaseModel):
    """Counts over rows; two of them add up, so that parts of a run may be counted apart."""

    rows: int = 0
    statuses: Counter[str] = Counter()
    """Rows by `Row.status`."""
    truncated: int = 0
    """Rows of which some filter's window left out a part."""
    filters: dict[str, FilterStatistics] = {}

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Self:
        """Count some rows."""
        counted = cls()
        for row in rows:
            counted.count(row)
        return counted

    def count(self, row: Row) -> None:
        """Count one row more."""
        self.rows += 1
        self.statuses[row.status.value] += 1
        self.truncated += any(score.tokens is not None and score.tokens.truncated for score in row.scores.values())
        for name, score in row.scores.items():
            each = self.filters.setdefault(name, FilterStatistics())
            each.statuses[score.status.value] += 1
            each.screened += score.stage == SCREEN
            if score.tier is not None:
                each.tiers[score.tier] += 1

    def __iadd__(self, other: Statistics) -> Self:
        """Add the counts of other rows."""
        self.rows += other.rows
        self.statuses += other.statuses
        self.truncated += other.truncated
        for name, more in other.filters.items():
            each = self.filters.setdefault(name, FilterStatistics())
            each.statuses += more.statuses
            each.tiers += more.tiers
            each.screened += more.screened
        return self
