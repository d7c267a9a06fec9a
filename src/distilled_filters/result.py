"""What comes out: a typed, frozen `Score` with its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distilled_filters.status import Status

__all__ = ["Provenance", "Score", "Status", "TokenUse"]


@dataclass(frozen=True, slots=True)
class TokenUse:
    """How much of an article was read, in the backbone's tokens (AC9)."""

    total: int
    read: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Provenance:
    """What produced a score: enough to produce it again."""

    filter: str
    version: str
    checkpoint: str
    backbone: str
    backbone_sha256: str
    head_sha256: str
    engine: str


@dataclass(frozen=True, slots=True)
class Score:
    """One article through one lens. All scores are on the oracle's 0-10 scale.

    `raw_weighted_average` is the student's own, before calibration and gate;
    `weighted_average` is after both, and decides the tier. `percentile` (0-100) ranks
    it among production-like articles; `interval` holds the oracle's value with the
    coverage the filter's `metrics.json` states. Where `status` is not `ok` every number
    is None and `detail` says why.
    """

    status: Status
    provenance: Provenance
    id: str | None = None
    tier: str | None = None
    weighted_average: float | None = None
    raw_weighted_average: float | None = None
    dimensions: Mapping[str, float] | None = None
    gate_applied: bool | None = None
    percentile: float | None = None
    interval: tuple[float, float] | None = None
    stage: str | None = None
    tokens: TokenUse | None = None
    detail: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types with a fixed set of keys, rounded to four decimals."""
        return {
            "id": self.id,
            "filter": self.provenance.filter,
            "version": self.provenance.version,
            "status": self.status.value,
            "tier": self.tier,
            "weighted_average": _rounded(self.weighted_average),
            "raw_weighted_average": _rounded(self.raw_weighted_average),
            "dimensions": None if self.dimensions is None else {k: _rounded(v) for k, v in self.dimensions.items()},
            "gate_applied": self.gate_applied,
            "percentile": _rounded(self.percentile),
            "interval": None if self.interval is None else [_rounded(bound) for bound in self.interval],
            "stage": self.stage,
            "tokens": None if self.tokens is None else _fields(self.tokens),
            "detail": self.detail,
            "provenance": _fields(self.provenance),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _fields(record: TokenUse | Provenance) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}
