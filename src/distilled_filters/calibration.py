"""Apply-only calibration: isotonic tables per dimension, conformal half-widths, percentiles.

The tables are fitted by `distillery calibrate` and read from JSON; a file made for
another head is refused.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from distilled_filters.errors import CheckpointError

__all__ = ["Calibration", "Intervals", "IsotonicTable", "Percentiles", "read_calibration", "read_percentiles"]


OnScale = Annotated[float, Field(ge=0, le=10)]


def _ascends(values: list[float]) -> list[float]:
    if any(upper < lower for lower, upper in pairwise(values)):
        raise ValueError("the values fall; they must ascend")
    return values


Ascending = Annotated[list[OnScale], AfterValidator(_ascends)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class IsotonicTable(_Table):
    """A non-decreasing piecewise linear map of one dimension's score (Zadrozny & Elkan, 2002)."""

    raw: Annotated[Ascending, Field(min_length=2)]
    calibrated: Annotated[Ascending, Field(min_length=2)]

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if len(self.raw) != len(self.calibrated):
            raise ValueError(f"{len(self.raw)} raw and {len(self.calibrated)} calibrated points")
        return self


class Intervals(_Table):
    """Split-conformal half-widths of the weighted average, by bins of its own value.

    Lei et al. (2018), with one quantile a bin (Mondrian). `edges` part the bins, so there is one more half-width.
    """

    coverage: Annotated[float, Field(gt=0, lt=1)]
    edges: Ascending
    half_widths: list[OnScale]

    @model_validator(mode="after")
    def _one_more_bin(self) -> Self:
        if len(self.half_widths) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges part {len(self.edges) + 1} bins, not {len(self.half_widths)}")
        return self


class Calibration(_Table):
    """What was learnt about one head's errors; bound to that head by its digest."""

    head_sha256: str
    dimensions: dict[str, IsotonicTable]
    intervals: Intervals

    def apply(self, names: Sequence[str], scores: Sequence[float]) -> list[float]:
        """Return calibrated scores, 0-10; a dimension without a table keeps its score."""
        calibrated = []
        for name, score in zip(names, scores, strict=True):
            table = self.dimensions.get(name)
            calibrated.append(score if table is None else float(np.interp(score, table.raw, table.calibrated)))
        return calibrated

    def interval(self, average: float) -> tuple[float, float]:
        """Return the interval around a weighted average, within 0-10."""
        half = self.intervals.half_widths[bisect_right(self.intervals.edges, average)]
        return max(0.0, average - half), min(10.0, average + half)


class Percentiles(_Table):
    """Weighted averages of production-like articles, ascending."""

    head_sha256: str
    source: str
    averages: Annotated[Ascending, Field(min_length=2)]


def read_calibration(path: Path, head_sha256: str) -> Calibration:
    """Read `calibration.json`.

    Raises:
        CheckpointError: not such a table, or fitted on another head.
    """
    return _read(path, Calibration, head_sha256)


def read_percentiles(path: Path, head_sha256: str) -> Percentiles:
    """Read `percentiles.json`.

    Raises:
        CheckpointError: not such a table, or measured with another head.
    """
    return _read(path, Percentiles, head_sha256)


T = TypeVar("T", Calibration, Percentiles)


def _read(path: Path, kind: type[T], head_sha256: str) -> T:
    try:
        table = kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise CheckpointError(f"{path}: not a {kind.__name__.lower()} table: {error}") from error
    if table.head_sha256 != head_sha256:
        raise CheckpointError(
            f"{path}: made for the head {table.head_sha256[:12]}, but the spec names {head_sha256[:12]}; "
            "run `distillery calibrate` again"
        )
    return table
