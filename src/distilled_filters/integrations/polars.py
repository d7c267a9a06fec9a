"""polars: `df.distilled.score(...)`, once this module is imported.

import distilled_filters.integrations.polars
frame.distilled.score(filters=["uplifting"]).top_k(10, by="uplifting_weighted_average")
"""

from __future__ import annotations

from typing import Any

from distilled_filters.integrations.batches import Scoring, missing_extra
from distilled_filters.integrations.frames import Distilled

try:
    import polars
except ImportError as error:
    raise missing_extra(error, "polars") from error

__all__ = ["DistilledNamespace", "records"]


@polars.api.register_dataframe_namespace("distilled")
class DistilledNamespace(Distilled[polars.DataFrame]):
    """What `frame.distilled` is."""

    def _with_scores(self, scoring: Scoring) -> polars.DataFrame:
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
