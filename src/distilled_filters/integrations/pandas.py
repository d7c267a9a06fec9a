"""pandas: `df.distilled.score(...)`, once this module is imported.

import distilled_filters.integrations.pandas
frame.distilled.score(filters=["uplifting"]).nlargest(10, "uplifting_weighted_average")
"""

from __future__ import annotations

from typing import Any

from distilled_filters.integrations.batches import Scoring, missing_extra
from distilled_filters.integrations.frames import Distilled

try:
    import pandas
except ImportError as error:
    raise missing_extra(error, "pandas") from error

__all__ = ["DistilledAccessor", "records"]


@pandas.api.extensions.register_dataframe_accessor("distilled")
class DistilledAccessor(Distilled[pandas.DataFrame]):
    """What `frame.distilled` is."""

    def _with_scores(self, scoring: Scoring) -> pandas.DataFrame:
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
