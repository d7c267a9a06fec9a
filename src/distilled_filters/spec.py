"""The typed, frozen specs behind `filter.toml` and `backbone.toml`.

Every number that acts on a score lives in a spec; a spec that breaks a rule never
becomes a filter.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import re
import tomllib
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar, Literal, Self, TypeAlias, TypeVar, overload

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

import distilled_filters
from distilled_filters.errors import SpecError

__all__ = [
    "NAME_PATTERN",
    "BackboneSpec",
    "CascadeCheckpoint",
    "Checkpoint",
    "DecoderSpec",
    "Dimension",
    "EnsembleCheckpoint",
    "Expert",
    "FileRef",
    "FilterSpec",
    "Gate",
    "HubSource",
    "LensSpec",
    "LinearCheckpoint",
    "LoraCheckpoint",
    "MergedCheckpoint",
    "MergedSpec",
    "ModelWindow",
    "OracleReading",
    "Preprocessing",
    "Tier",
    "Weights",
    "joined_digest",
    "problems_of",
    "read_backbone_spec",
    "read_filter_spec",
    "read_lens_spec",
]

NAME_PATTERN = r"[a-z][a-z0-9_]*"
_LANGUAGE = r"^[a-z]{2,3}$"
Name = Annotated[str, Field(pattern=rf"^{NAME_PATTERN}$", max_length=64)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
OnScale = Annotated[float, Field(ge=0, le=10)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


S = TypeVar("S", bound=_Spec)


class FileRef(_Spec):
    """A file of a checkpoint: where it is, and which bytes it must have."""

    path: Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*/)?[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=128)]
    sha256: Sha256
    size: Annotated[int, Field(gt=0, description="bytes")]


class HubSource(_Spec):
    """A Hugging Face Hub repository at one commit; files without one lie in the folder."""

    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="a full commit hash, never a branch")]


class Dimension(_Spec):
    """One question the oracle answered with a score from 0 to 10."""

    name: Name
    question: Annotated[str, Field(min_length=1)]
    weight: Annotated[float, Field(gt=0, le=1)]


class Gate(_Spec):
    """Where `dimension` is under `below`, the weighted average is at most `ceiling`."""

    dimension: Name
    below: OnScale
    ceiling: OnScale


class Tier(_Spec):
    """A named range of the weighted average, from `at_least` up to the next tier."""

    name: Name
    at_least: OnScale


class Preprocessing(_Spec):
    """What of an article is read; tokens are the backbone's, characters are after cleaning."""

    prefix: str
    head_tokens: Annotated[int, Field(gt=0)]
    tail_tokens: Annotated[int, Field(gt=0)]
    separator: Annotated[str, Field(min_length=1)]
    min_characters: Annotated[int, Field(gt=0)]
    max_characters: Annotated[int, Field(gt=0, description="before cleaning")]
    max_unknown: Annotated[float, Field(gt=0, le=1, description="share of characters outside the vocabulary")]


class OracleReading(_Spec):
    """What of an article the oracle is shown, in words after cleaning: as much as the student reads, or more."""

    head_words: Annotated[int, Field(gt=0)] = 300
    tail_words: Annotated[int, Field(gt=0)] = 100


class _SharedModel(_Spec):
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


class _Checkpoint(_Spec):
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


class ModelWindow(_Spec):
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
        _unique("member", list(value))
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


# One class a kind; what opens each stands in `scorers/kinds.py`.
Expert: TypeAlias = LoraCheckpoint | MergedCheckpoint
Weights: TypeAlias = LinearCheckpoint | Expert
Checkpoint: TypeAlias = Annotated[Weights | CascadeCheckpoint | EnsembleCheckpoint, Field(discriminator="kind")]


class LensSpec(_Spec):
    """What a filter's author decides: the lens, its dimensions and rules, and what is read."""

    name: Name
    version: str
    lens: Annotated[str, Field(min_length=1)]
    languages: tuple[Annotated[str, Field(pattern=_LANGUAGE)], ...]
    licence: str
    engine: str
    prompt_sha256: Sha256
    default_checkpoint: Name
    dimensions: Annotated[tuple[Dimension, ...], Field(min_length=1)]
    gate: Gate | None = None
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)]
    preprocessing: Preprocessing
    oracle: OracleReading = OracleReading()

    @field_validator("name")
    @classmethod
    def _is_free(cls, value: str) -> str:
        package = distilled_filters.__name__
        if value in distilled_filters.__all__ or importlib.util.find_spec(f"{package}.{value}"):
            raise ValueError(f"{value!r} is a part of {package}, which an import would bring instead; choose another")
        return value

    @field_validator("version")
    @classmethod
    def _is_semantic(cls, value: str) -> str:
        if not re.fullmatch(r"[1-9]\d*\.\d+\.\d+", value):
            raise ValueError(f"{value!r} is not MAJOR.MINOR.PATCH with MAJOR of 1 or more")
        return value

    @field_validator("engine")
    @classmethod
    def _is_specifier(cls, value: str) -> str:
        try:
            SpecifierSet(value)
        except InvalidSpecifier as error:
            raise ValueError(f"{value!r} is not a version range such as '>=0.1,<0.2'") from error
        return value

    @field_validator("dimensions")
    @classmethod
    def _weights_sum_to_one(cls, value: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
        _unique("dimension", [dimension.name for dimension in value])
        total = math.fsum(dimension.weight for dimension in value)
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"the weights sum to {total:g}, not 1")
        return value

    @field_validator("tiers")
    @classmethod
    def _tiers_descend_to_zero(cls, value: tuple[Tier, ...]) -> tuple[Tier, ...]:
        _unique("tier", [tier.name for tier in value])
        bounds = [tier.at_least for tier in value]
        if any(upper <= lower for upper, lower in pairwise(bounds)) or bounds[-1] != 0:
            raise ValueError(f"at_least must fall from the best tier to the last, which is 0.0; it is {bounds}")
        return value

    @model_validator(mode="after")
    def _gate_has_a_dimension(self) -> Self:
        if self.gate and self.gate.dimension not in self.dimension_names:
            raise ValueError(f"gate.dimension {self.gate.dimension!r} is none of {list(self.dimension_names)}")
        return self

    def engine_problem(self) -> str | None:
        """Say why this library's version cannot run the filter, with the mend; None where it can (AC20)."""
        engine = distilled_filters.__version__
        if SpecifierSet(self.engine).contains(engine, prereleases=True):
            return None
        return (
            f"{self.name} {self.version} needs distilled-filters{self.engine}; {engine} is installed. "
            f"Mend it with: pip install 'distilled-filters{self.engine}'"
        )

    @property
    def medium(self) -> float:
        """The weighted average from which on an article is of the medium tier: where filters are judged."""
        return next(tier.at_least for tier in self.tiers if tier.name == "medium")

    @property
    def dimension_names(self) -> tuple[str, ...]:
        """The dimensions' names in the head's order."""
        return tuple(dimension.name for dimension in self.dimensions)


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


def joined_digest(digests: Iterable[str]) -> str:
    """Return the digest that stands for several, in order; one stands for itself."""
    several = list(digests)
    return several[0] if len(several) == 1 else hashlib.sha256("".join(several).encode()).hexdigest()


def read_filter_spec(path: Path) -> FilterSpec:
    """Read and check a `filter.toml`.

    Raises:
        SpecError: naming the file, the key, the value and the rule.
    """
    return _read(path, FilterSpec)


def read_lens_spec(path: Path) -> LensSpec:
    """Read and check the author's part of a `filter.toml`, before or after training.

    Raises:
        SpecError: naming the file, the key, the value and the rule.
    """
    return _read(path, LensSpec, ignored=frozenset({"checkpoints"}))


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
    return _read(path, kind)


def _read(path: Path, spec: type[S], ignored: frozenset[str] = frozenset()) -> S:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return spec.model_validate(_tuples({key: value for key, value in document.items() if key not in ignored}))
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not readable TOML: {error}") from error
    except ValidationError as error:
        raise SpecError(f"{path}: {problems_of(error)}") from error


def problems_of(error: ValidationError) -> str:
    """Return what a document got wrong: each key, what is wrong with it, and its value."""
    return "; ".join(_problem(dict(item)) for item in error.errors())


def _problem(item: dict[str, object]) -> str:
    location = item["loc"] if isinstance(item["loc"], tuple) else ()
    if location[:1] == ("checkpoints",):
        # After a checkpoint's name pydantic puts its kind, which is no key.
        location = location[:2] + location[3:]
    key = ".".join(str(part) for part in location) or "(whole file)"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "unknown key; remove it or mend its spelling"
    elif item["type"] == "missing":
        message = "required key is missing"
        if key == "checkpoints":
            message += "; the filter is not trained yet: `distillery export` writes it"
    elif item["type"] != "value_error":
        message = _in_words(str(item["type"]), item.get("ctx"), message)
        if isinstance(item["input"], str | int | float):
            message += f", not {item['input']!r}"
    return f"{key}: {message}"


# pydantic's names of what can be wrong with a value, and what an author is told.
_RULES = {
    "greater_than": "must be more than {gt:g}", "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be less than {lt:g}", "less_than_equal": "must be {le:g} or less",
    "finite_number": "must be a finite number",
    "too_short": "must have at least {min_length} of them",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters", "string_type": "must be text",
    "string_pattern_mismatch": "must be of the form {pattern}", "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "int_type": "must be an integer", "int_parsing": "must be an integer",
    "int_from_float": "must be an integer", "float_type": "must be a number", "float_parsing": "must be a number",
    "bool_type": "must be true or false", "bool_parsing": "must be true or false",
    "tuple_type": "must be a list", "list_type": "must be a list", "dict_type": "must be a table",
    "model_type": "must be a table", "model_attributes_type": "must be a table",
}  # fmt: skip
_FORMS = {
    rf"^{NAME_PATTERN}$": "must be lower-case letters, digits and _, a letter first",
    _LANGUAGE: "must be two or three lower-case letters such as en",
    r"^[0-9a-f]{64}$": "must be 64 hexadecimal digits",
}


def _in_words(kind: str, context: object, otherwise: str) -> str:
    """Return a rule of pydantic's in words for an author, its own words where there are none."""
    values = context if isinstance(context, dict) else {}
    if kind == "string_too_short" and values.get("min_length") == 1:
        return "must not be empty"
    rule = _RULES.get(kind)
    return _FORMS.get(values.get("pattern", "")) or (rule.format(**values) if rule else otherwise)


def _tuples(value: object) -> object:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _unique(kind: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{kind} {', '.join(map(repr, twice))} stands twice")
