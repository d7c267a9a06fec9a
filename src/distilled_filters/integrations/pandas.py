"""pandas: `df.distilled.score(...)`, once this module is imported.

import distilled_filters.integrations.pandas
frame.distilled.score(filters=["uplifting"]).nlargest(10, "uplifting_weighted_average")
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from distilled_filters.filter import Filter
from distilled_filters.integrations.batches import Scoring, missing_extra

try:
    import pandas
except ImportError as error:
    raise missing_extra(error, "pandas") from error

__all__ = ["DistilledAccessor", "records"]


@pandas.api.extensions.register_dataframe_accessor("distilled")
class DistilledAccessor:
    """What `frame.distilled` is."""

    def __init__(self, frame: pandas.DataFrame) -> None:
        """Keep the frame, as pandas does for accessors."""
        self._frame = frame

    def score(
        self,
        filters: Iterable[Filter | str] | None = None,
        *,
        title: str | None = None,
        content: str | None = None,
        threads: int | None = None,
    ) -> pandas.DataFrame:
        """Return a copy of the frame with columns of scores behind its own; index and order stay.

        Args:
            filters: Filters or requirements such as `"uplifting==1.*"`; None for all installed.
            title: The column of titles; None for `title` or `headline`, where there is one.
            content: The column of texts; None for `content`, `text` or `body`.
            threads: Articles scored at once, as for `Filter`.

        Raises:
            DistilledFiltersError: when the filters cannot be found, used together or
                opened, or the frame lacks its columns.
        """
        scoring = Scoring(filters, title=title, content=content, threads=threads)
        columns = scoring.score(records(self._frame, scoring))
        types = {str: "string", float: "float64"}
        scores = {
            name: pandas.Series(cells, index=self._frame.index, dtype=types[scoring.columns[name]])
            for name, cells in columns.items()
        }
        return pandas.concat([self._frame, pandas.DataFrame(scores, index=self._frame.index)], axis=1)


def records(frame: pandas.DataFrame, scoring: Scoring) -> list[dict[str, Any]]:
    """Return a frame's rows as articles; each kind of missing value becomes None."""
    reads = scoring.inputs(frame.columns)
    part = frame[list(reads)].rename(columns=reads).astype(object)
    rows: list[dict[str, Any]] = part.where(part.notna(), None).to_dict("records")
    return rows
