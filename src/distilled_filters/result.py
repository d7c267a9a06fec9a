"""What comes out: a typed, frozen `Score` with its provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

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


class _FrozenDict(dict[str, float]):
    """A dict that stays as it is, so that a score can be shared, hashed and kept in sets.

    A dict, and no other mapping, because `json`, `pprint` and data frames know those.
    """

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a score cannot be changed; dict(score.dimensions) is a copy that can")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Callable[..., _FrozenDict], tuple[dict[str, float]]]:
        return _FrozenDict, (dict(self),)


@dataclass(frozen=True, slots=True)
class Score:
    """One article through one lens: frozen, hashable, all scores on the oracle's 0-10 scale.

    `raw_weighted_average` is the student's own, before calibration and gate;
    `weighted_average` is after both, and decides the tier. `percentile` (0-100) ranks
    it among production-like articles. Where `status` is not `ok` every number is None and
    `detail` says why.

    `interval` holds the oracle's value with the coverage that the filter's card states,
    counted over all articles. Most are out of scope and easy; over those in scope the
    intervals hold less often than stated. The card has both measured shares.

    `disagreement`, of an ensemble alone, is the distance between the lowest and the highest
    weighted average among its members.
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
    disagreement: float | None = None
    stage: str | None = None
    tokens: TokenUse | None = None
    detail: str | None = None

    def __post_init__(self) -> None:
        """Keep the dimensions from being changed, as all else is."""
        if self.dimensions is not None:
            object.__setattr__(self, "dimensions", _FrozenDict(self.dimensions))

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
            "disagreement": _rounded(self.disagreement),
            "stage": self.stage,
            "tokens": None if self.tokens is None else _fields(self.tokens),
            "detail": self.detail,
            "provenance": _fields(self.provenance),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _fields(record: TokenUse | Provenance) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}
