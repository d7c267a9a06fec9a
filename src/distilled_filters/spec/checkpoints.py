"""The checkpoints of a filter: one class a kind; what opens each stands in `scorers/kinds.py`."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, field_validator

from distilled_filters.spec.document import NAME_PATTERN, FileRef, HubSource, Name, Sha256, Spec, unique
from distilled_filters.spec.lens import Preprocessing
from distilled_filters.spec.models import BackboneSpec, DecoderSpec, MergedSpec

__all__ = [
    "CascadeCheckpoint",
    "Checkpoint",
    "EnsembleCheckpoint",
    "Expert",
    "LinearCheckpoint",
    "LoraCheckpoint",
    "MergedCheckpoint",
    "ModelWindow",
    "Weights",
]


class _Checkpoint(Spec):
    """What every kind of checkpoint has."""

    hub: HubSource | None = None

    @property
    def files(self) -> tuple[FileRef, ...]:
        """Every file a load needs beside those of backbones and of the checkpoints it is made of."""
        raise NotImplementedError

    @property
    def learnt(self) -> FileRef:
        """The file that the checkpoint's tables are bound to."""
        raise NotImplementedError

    @property
    def parts(self) -> tuple[str, ...]:
        """The checkpoints it is made of; none where it has weights of its own."""
        return ()

    @property
    def digest(self) -> str:
        """The SHA-256 by which tables and scores name it."""
        return self.learnt.sha256

    @property
    def home(self) -> str:
        """The folder of its files in the filter's; empty where they lie beside the spec."""
        return PurePosixPath(self.learnt.path).parent.name

    @property
    def fingerprint(self) -> str:
        """A digest of all that its scores depend on, wherever it is published."""
        said = self.model_dump(mode="json", exclude={"hub"}, exclude_defaults=True)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


class _Weights(_Checkpoint):
    """What was learnt on a shared model for one filter, and the tables that were fitted to its answers."""

    on: ClassVar[type[BackboneSpec | DecoderSpec]]

    backbone: Annotated[str, Field(pattern=rf"^{NAME_PATTERN}/v[1-9][0-9]*$")]
    backbone_sha256: Sha256
    head: FileRef
    calibration: FileRef
    percentiles: FileRef

    @property
    def files(self) -> tuple[FileRef, ...]:
        """Every file a load needs beside the backbone's."""
        return (self.head, self.calibration, self.percentiles)

    @property
    def learnt(self) -> FileRef:
        """The head."""
        return self.head

    def reads(self, preprocessing: Preprocessing) -> Preprocessing:
        """Return what this checkpoint reads of an article."""
        return preprocessing


class LinearCheckpoint(_Weights):
    """A linear head on a shared encoder, with a first look."""

    on = BackboneSpec

    kind: Literal["zero_inflated_linear"]
    screen_below: Annotated[float | None, Field(description="first looks under this end early, out of scope")] = None


class ModelWindow(Spec):
    """What a checkpoint's own model reads in place of the filter's [preprocessing]; tokens are that model's."""

    prefix: str
    head_tokens: Annotated[int, Field(gt=0)]
    tail_tokens: Annotated[int, Field(gt=0)]
    end: Annotated[bool, Field(description="whether the model's end token follows the text")] = True


class _ExpertCheckpoint(_Weights):
    """What a language model learnt for one filter, and how it reads."""

    window: ModelWindow

    def reads(self, preprocessing: Preprocessing) -> Preprocessing:
        """Return what this checkpoint reads of an article."""
        return preprocessing.model_copy(update=self.window.model_dump(exclude={"end"}))


class LoraCheckpoint(_ExpertCheckpoint):
    """A LoRA adapter (Hu et al., 2021) on a shared decoder, and a regression head at its last token."""

    on = DecoderSpec

    kind: Literal["lora"]
    adapter: FileRef
    adapter_config: FileRef

    @property
    def files(self) -> tuple[FileRef, ...]:
        """Every file a load needs beside the backbone's."""
        return (self.adapter, self.adapter_config, *super().files)


class MergedCheckpoint(_ExpertCheckpoint):
    """A regression head at the last token of a language model that learnt for this filter alone, in ONNX."""

    on = MergedSpec

    kind: Literal["merged"]


class CascadeCheckpoint(_Checkpoint):
    """An encoder student that asks an expert where its own weighted average leaves the tier open."""

    kind: Literal["cascade"]
    student: Name
    expert: Name
    route: FileRef

    @property
    def files(self) -> tuple[FileRef, ...]:
        """The ranges in which the expert is asked."""
        return (self.route,)

    @property
    def learnt(self) -> FileRef:
        """The ranges in which the expert is asked."""
        return self.route

    @property
    def parts(self) -> tuple[str, ...]:
        """The student, then the expert."""
        return (self.student, self.expert)


class EnsembleCheckpoint(_Checkpoint):
    """Several checkpoints that all answer, and one score made of their answers."""

    kind: Literal["ensemble"]
    members: Annotated[tuple[Name, ...], Field(min_length=2)]
    method: Literal["mean", "weighted", "stacked"]
    combination: FileRef
    calibration: FileRef
    percentiles: FileRef

    @field_validator("members")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unique("member", list(value))
        return value

    @property
    def files(self) -> tuple[FileRef, ...]:
        """The members' coefficients, and the tables that were fitted to their sum."""
        return (self.combination, self.calibration, self.percentiles)

    @property
    def learnt(self) -> FileRef:
        """The members' coefficients."""
        return self.combination

    @property
    def parts(self) -> tuple[str, ...]:
        """The members."""
        return self.members


Expert: TypeAlias = LoraCheckpoint | MergedCheckpoint
Weights: TypeAlias = LinearCheckpoint | Expert
Checkpoint: TypeAlias = Annotated[Weights | CascadeCheckpoint | EnsembleCheckpoint, Field(discriminator="kind")]
