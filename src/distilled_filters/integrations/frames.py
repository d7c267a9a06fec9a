"""What `frame.distilled` is, whichever library the frame is of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, TypeVar

from distilled_filters.filter import Filter
from distilled_filters.integrations.batches import Scoring

__all__ = ["Distilled"]

Frame = TypeVar("Frame")


class Distilled(ABC, Generic[Frame]):
    """A data frame that can be scored; pandas and polars make one when `frame.distilled` is asked for."""

    def __init__(self, frame: Frame) -> None:
        """Keep the frame."""
        self._frame = frame

    def score(
        self,
        filters: Iterable[Filter | str] | None = None,
        *,
        title: str | None = None,
        content: str | None = None,
        threads: int | None = None,
    ) -> Frame:
        """Return the frame with columns of scores behind its own; index and order stay.

        Args:
            filters: Filters or requirements such as `"uplifting==1.*"`; None for all installed.
            title: The column of titles; None for `title` or `headline`, where there is one.
            content: The column of texts; None for `content`, `text` or `body`.
            threads: Articles scored at once, as for `Filter`.

        Raises:
            DistilledFiltersError: when the filters cannot be found, used together or
                opened, or the frame lacks its columns.
        """
        return self._with_scores(Scoring(filters, title=title, content=content, threads=threads))

    @abstractmethod
    def _with_scores(self, scoring: Scoring) -> Frame:
        """Score the frame's articles; the frame itself stays as it is."""
