"""A lens: what a filter's author decides."""

from __future__ import annotations

import importlib.util
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import Field, field_validator, model_validator

import distilled_filters
from distilled_filters.spec.document import LANGUAGE, Name, OnScale, Sha256, Spec, read, unique

__all__ = ["Dimension", "Gate", "LensSpec", "OracleReading", "Preprocessing", "Tier", "read_lens_spec"]


class Dimension(Spec):
    """One question the oracle answered with a score from 0 to 10."""

    name: Name
    question: Annotated[str, Field(min_length=1)]
    weight: Annotated[float, Field(gt=0, le=1)]


class Gate(Spec):
    """Where `dimension` is under `below`, the weighted average is at most `ceiling`."""

    dimension: Name
    below: OnScale
    ceiling: OnScale


class Tier(Spec):
    """A named range of the weighted average, from `at_least` up to the next tier."""

    name: Name
    at_least: OnScale


class Preprocessing(Spec):
    """What of an article is read; tokens are the backbone's, characters are after cleaning."""

    prefix: str
    head_tokens: Annotated[int, Field(gt=0)]
    tail_tokens: Annotated[int, Field(gt=0)]
    separator: Annotated[str, Field(min_length=1)]
    min_characters: Annotated[int, Field(gt=0)]
    max_characters: Annotated[int, Field(gt=0, description="before cleaning")]
    max_unknown: Annotated[float, Field(gt=0, le=1, description="share of characters outside the vocabulary")]


class OracleReading(Spec):
    """What of an article the oracle is shown, in words after cleaning: as much as the student reads, or more."""

    head_words: Annotated[int, Field(gt=0)] = 300
    tail_words: Annotated[int, Field(gt=0)] = 100


class LensSpec(Spec):
    """What a filter's author decides: the lens, its dimensions and rules, and what is read."""

    name: Name
    version: str
    lens: Annotated[str, Field(min_length=1)]
    languages: tuple[Annotated[str, Field(pattern=LANGUAGE)], ...]
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
        unique("dimension", [dimension.name for dimension in value])
        total = math.fsum(dimension.weight for dimension in value)
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"the weights sum to {total:g}, not 1")
        return value

    @field_validator("tiers")
    @classmethod
    def _tiers_descend_to_zero(cls, value: tuple[Tier, ...]) -> tuple[Tier, ...]:
        unique("tier", [tier.name for tier in value])
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


def read_lens_spec(path: Path) -> LensSpec:
    """Read and check the author's part of a `filter.toml`, before or after training.

    Raises:
        SpecError: naming the file, the key, the value and the rule.
    """
    return read(path, LensSpec, ignored=frozenset({"checkpoints"}))
