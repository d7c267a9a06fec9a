"""polars: `df.distilled.score(...)`, once this module is imported.

import distilled_filters.integrations.polars
frame.distilled.score(filters=["uplifting"]).top_k(10, by="uplifting_weighted_average")
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from distilled_filters.filter import Filter
from distilled_filters.integrations.batches import Scoring, missing_extra

try:
    import polars
except ImportError as error:
    raise missing_extra(error, "polars") from error

__all__ = ["DistilledNamespace", "records"]


@polars.api.register_dataframe_namespace("distilled")
class DistilledNamespace:
    """What `frame.distilled` is."""

    def __init__(self, frame: polars.DataFrame) -> None:
        """Keep the frame, as polars does for namespaces."""
        self._frame = frame

    def score(
        self,
        filters: Iterable[Filter | str] | None = None,
        *,
        title: str | None = None,
        content: str | None = None,
        threads: int | None = None,
    ) -> polars.DataFrame:
        """Return the frame with columns of scores behind its own, in its order.

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
        types = {str: polars.String, float: polars.Float64}
        return self._frame.with_columns(
            polars.Series(name, cells, dtype=types[scoring.columns[name]]) for name, cells in columns.items()
        )


def records(frame: polars.DataFrame, scoring: Scoring) -> list[dict[str, Any]]:
    """Return a frame's rows as articles."""
    reads = scoring.inputs(frame.columns)
    rows: list[dict[str, Any]] = frame.select(list(reads)).rename(reads).to_dicts()
    return rows
