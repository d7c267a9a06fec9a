"""`backbone.toml`: a model that checkpoints are built on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, TypeVar, overload

from pydantic import Field

from distilled_filters.spec.document import FileRef, HubSource, Name, Spec, read

__all__ = ["BackboneSpec", "DecoderSpec", "MergedSpec", "joined_digest", "read_backbone_spec"]


class _SharedModel(Spec):
    """What many filters' checkpoints are built on: a folder of its own beside the filters."""

    name: Name
    version: Annotated[int, Field(ge=1)]
    base: Annotated[str, Field(description="the model it was made from")]
    licence: str
    max_tokens: Annotated[int, Field(gt=0)]
    tokenizer: FileRef
    hub: HubSource | None = None

    @property
    def files(self) -> tuple[FileRef, ...]:
        """Every file a load needs."""
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """The SHA-256 by which checkpoints name these weights."""
        raise NotImplementedError


class BackboneSpec(_SharedModel):
    """An encoder that many filters share."""

    layers: Annotated[int, Field(gt=0)]
    dims: Annotated[int, Field(gt=0, description="length of an embedding")]
    pooling: Literal["mean", "last_token"]
    quantisation: Literal["int8", "fp16", "fp32"]
    model: FileRef

    @property
    def files(self) -> tuple[FileRef, ...]:
        """Every file a load needs."""
        return (self.model, self.tokenizer)

    @property
    def digest(self) -> str:
        """The SHA-256 of the model's file."""
        return self.model.sha256


class MergedSpec(BackboneSpec):
    """A language model with what was learnt for one filter in its weights, in ONNX; it answers at its last token."""

    pooling: Literal["last_token"]
    start: Annotated[
        str | None, Field(description="the token before every window; none where the model knows none")
    ] = None
    end: Annotated[str, Field(description="the token after every window, where the answer is read")]


class DecoderSpec(_SharedModel):
    """A language model that the adapters of many filters share; it is read from its last token's place."""

    kind: Literal["decoder"]
    config: FileRef
    weights: Annotated[tuple[FileRef, ...], Field(min_length=1, description="safetensors, all shards")]
    start: Annotated[
        str | None, Field(description="the token before every window; none where the model knows none")
    ] = None
    end: Annotated[str, Field(description="the token after every window, where the answer is read")]
    pad: str

    @property
    def files(self) -> tuple[FileRef, ...]:
        """Every file a load needs."""
        return (self.config, self.tokenizer, *self.weights)

    @property
    def digest(self) -> str:
        """The SHA-256 of the weights' file; of several, that of their digests one after another."""
        return joined_digest(ref.sha256 for ref in self.weights)


M = TypeVar("M", bound=BackboneSpec)


def joined_digest(digests: Iterable[str]) -> str:
    """Return the digest that stands for several, in order; one stands for itself."""
    several = list(digests)
    return several[0] if len(several) == 1 else hashlib.sha256("".join(several).encode()).hexdigest()


@overload
def read_backbone_spec(path: Path) -> BackboneSpec: ...
@overload
def read_backbone_spec(path: Path, kind: type[M]) -> M: ...
@overload
def read_backbone_spec(path: Path, kind: type[DecoderSpec]) -> DecoderSpec: ...
@overload
def read_backbone_spec(path: Path, kind: type[BackboneSpec | DecoderSpec]) -> BackboneSpec | DecoderSpec: ...
def read_backbone_spec(path: Path, kind: type[BackboneSpec | DecoderSpec] = BackboneSpec) -> BackboneSpec | DecoderSpec:
    """Read and check a `backbone.toml`, of an encoder or of the kind of model that is asked for.

    Raises:
        SpecError: naming the file, the key, the value and the rule.
    """
    return read(path, kind)
