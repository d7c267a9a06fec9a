"""`filter.toml`: a lens and its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from distilled_filters.spec.checkpoints import CascadeCheckpoint, Checkpoint, Expert, LinearCheckpoint, Weights
from distilled_filters.spec.document import Name, read
from distilled_filters.spec.lens import LensSpec

__all__ = ["FilterSpec", "read_filter_spec"]


class FilterSpec(LensSpec):
    """A lens with the checkpoints that were trained for it: everything a filter is, but its weights."""

    checkpoints: Annotated[dict[Name, Checkpoint], Field(min_length=1)]

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        if self.default_checkpoint not in self.checkpoints:
            raise ValueError(f"default_checkpoint {self.default_checkpoint!r} is none of {list(self.checkpoints)}")
        return self

    @model_validator(mode="after")
    def _parts_have_weights(self) -> Self:
        for name, entry in self.checkpoints.items():
            for part in entry.parts:
                found = self.checkpoints.get(part)
                if found is None:
                    raise ValueError(
                        f"checkpoints.{name} is made of {part!r}, which is none of {list(self.checkpoints)}"
                    )
                if found.parts:
                    raise ValueError(
                        f"checkpoints.{name} is made of {part!r}, itself a checkpoint made of others ({found.kind}); "
                        "name those that have weights of their own"
                    )
            if isinstance(entry, CascadeCheckpoint):
                student, expert = (self.checkpoints[part] for part in entry.parts)
                if not (isinstance(student, LinearCheckpoint) and isinstance(expert, Expert)):
                    raise ValueError(
                        f"checkpoints.{name}: a cascade leads from a zero_inflated_linear student to a lora or merged "
                        f"expert, not from {student.kind} to {expert.kind}"
                    )
        return self

    def parts(self, checkpoint: str) -> dict[str, Weights]:
        """Return the checkpoints with weights that one rests on, by name: itself, or those it is made of."""
        names = self.checkpoints[checkpoint].parts or (checkpoint,)
        return {name: found for name in names if isinstance(found := self.checkpoints[name], Weights)}


def read_filter_spec(path: Path) -> FilterSpec:
    """Read and check a `filter.toml`.

    Raises:
        SpecError: naming the file, the key, the value and the rule.
    """
    return read(path, FilterSpec)
