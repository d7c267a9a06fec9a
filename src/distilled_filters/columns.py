"""The columns of a table of scores, the same in files, data frames and engines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from distilled_filters.errors import SettingError
from distilled_filters.filter import Filter
from distilled_filters.result import Score

__all__ = ["Cell", "score_cells", "score_columns"]

Cell: TypeAlias = str | float | None

_SCORE_COLUMNS: Mapping[str, type] = {"status": str, "tier": str, "weighted_average": float, "percentile": float}


def score_columns(filters: Iterable[Filter]) -> dict[str, type]:
    """Return the columns `<filter>_<what>` in order, each with the type of its cells.

    Every filter has `status`, `tier`, `weighted_average`, `percentile` and its dimensions.
    Scores are on the 0-10 scale, percentiles 0-100. Where an article was not scored, all
    cells but the status are empty.

    Raises:
        SettingError: when two of them would have one name.
    """
    columns: dict[str, type] = {}
    for each in filters:
        own = [*_SCORE_COLUMNS.items(), *((dimension, float) for dimension in each.spec.dimension_names)]
        for what, kind in own:
            column = f"{each.name}_{what}"
            if column in columns:
                raise SettingError(f"two columns would be named {column!r}; score {each.name} apart from the others")
            columns[column] = kind
    return columns


def score_cells(score: Score) -> dict[str, Cell]:
    """Return one filter's cells of a row, unrounded; what a record lacks is left out or None."""
    name = score.provenance.filter
    cells: dict[str, Cell] = {f"{name}_{what}": getattr(score, what) for what in _SCORE_COLUMNS}
    cells[f"{name}_status"] = score.status.value
    return cells | {f"{name}_{dimension}": value for dimension, value in (score.dimensions or {}).items()}
