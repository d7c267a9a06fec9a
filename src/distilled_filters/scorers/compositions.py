"""What was fitted to how several checkpoints answer together: small files, bound to those checkpoints."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from distilled_filters.errors import CheckpointError
from distilled_filters.scorers.base import Source

__all__ = ["Combination", "Composition", "Route", "check_composition", "read_composition"]

OnScale = Annotated[float, Field(ge=0, le=10)]


class Composition(BaseModel):
    """What every such file has: the fingerprints of its checkpoints by name, and in words what it was fitted to."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    made_for: dict[str, str]
    source: str


class Route(Composition):
    """The ranges of the student's weighted average, both ends in them, where a cascade asks its expert.

    They lie around the tiers' boundaries. The width of a conformal interval is a function of the
    same average, so that all it could say of the student's doubt is in them.
    """

    ask: tuple[tuple[OnScale, OnScale], ...]

    @model_validator(mode="after")
    def _ascend(self) -> Self:
        ends = [end for band in self.ask for end in band]
        if any(upper < lower for lower, upper in pairwise(ends)):
            raise ValueError(f"ask must be ranges in ascending order that do not overlap; it is {self.ask}")
        return self

    def asks(self, average: float) -> bool:
        """Tell whether an article with this average of the student's goes to the expert."""
        return any(low <= average <= high for low, high in self.ask)


class Combination(Composition):
    """What each member's calibrated dimensions count for in an ensemble: a factor a dimension, by the member's name.

    Stacked regressions (Breiman, 1996): factors of zero and more. There is no intercept, so that
    what all members put out of scope stays there.
    """

    coefficients: dict[str, tuple[Annotated[float, Field(ge=0)], ...]]


C = TypeVar("C", bound=Composition)


def read_composition(source: Source, kind: type[C]) -> C:
    """Read what was fitted to the parts of a checkpoint; opens no weights.

    Raises:
        CheckpointError: when the file is missing, damaged, not such a file, or fitted to other
            parts than the spec has now.
    """
    weights = source.weights
    path = source.files()[weights.learnt]
    try:
        found = kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CheckpointError(f"{path}: not the file of a {weights.kind}: {error}") from error
    parts = {name: part.fingerprint for name, part in source.spec.parts(source.checkpoint).items()}
    if found.made_for != parts:
        changed = sorted(name for name in {*parts, *found.made_for} if parts.get(name) != found.made_for.get(name))
        raise CheckpointError(
            f"{path}: {', '.join(changed)} changed since this was fitted, in weights, tables or window; "
            f"run `distillery {weights.kind}` again"
        )
    return found


def check_composition(source: Source) -> None:
    """See whether a checkpoint made of others is whole and was fitted to the parts it has.

    Raises:
        CheckpointError: as reading it would.
    """
    read_composition(source, Route if source.weights.kind == "cascade" else Combination)
