"""What every kind of checkpoint looks like from outside: an article's reading in, an answer out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from distilled_filters import checkpoints
from distilled_filters.article import Article
from distilled_filters.calibration import Calibration, Percentiles, read_calibration, read_percentiles
from distilled_filters.errors import RecordError, SpecError
from distilled_filters.preprocess import Preprocessor
from distilled_filters.result import TokenUse
from distilled_filters.spec import (
    BackboneSpec,
    Checkpoint,
    DecoderSpec,
    EnsembleCheckpoint,
    FileRef,
    FilterSpec,
    Weights,
    read_backbone_spec,
)

__all__ = [
    "DEVICE_VARIABLE",
    "EXPERT",
    "PRECISION_VARIABLE",
    "SCREEN",
    "STUDENT",
    "Answer",
    "Part",
    "Reading",
    "Scorer",
    "Source",
    "Tables",
]

# What decided a score: the first look alone, the encoder too, or a language model.
SCREEN, STUDENT, EXPERT = "screen", "student", "expert"

# Where a language model runs, and in which precision, unless an argument says so.
DEVICE_VARIABLE, PRECISION_VARIABLE = "DISTILLED_FILTERS_DEVICE", "DISTILLED_FILTERS_PRECISION"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tables:
    """What was fitted to one head's answers."""

    calibration: Calibration
    percentiles: Percentiles


@dataclass(frozen=True, slots=True)
class Answer:
    """A checkpoint's raw dimensions of one article (d,), 0-10, and the tables that belong to them.

    `disagreement` is what `Score` has under that name.
    """

    raw: Sequence[float]
    stage: str
    tokens: TokenUse
    tables: Tables
    disagreement: float | None = None

    def calibrated(self, names: Sequence[str]) -> list[float]:
        """Return the dimensions (d,), 0-10, as its tables correct them."""
        return self.tables.calibration.apply(names, self.raw)


class Reading:
    """One article on its way through several scorers; what they have in common is worked out once (AC24)."""

    def __init__(self, article: Article) -> None:
        """Begin with nothing worked out."""
        self.article = article
        self._done: dict[Hashable, Any] = {}

    def once(self, key: Hashable, work: Callable[[], T]) -> T:
        """Return what `work` gave when this key was first asked for.

        Raises:
            RecordError: whatever the work refused the article for, every time.
        """
        if key not in self._done:
            try:
                self._done[key] = work()
            except RecordError as error:
                self._done[key] = error
        found = self._done[key]
        if isinstance(found, RecordError):
            raise found
        return cast(T, found)


class Scorer(Protocol):
    """One opened checkpoint."""

    @property
    def tables(self) -> Tables:
        """What was fitted to its own answers; a cascade has its student's."""

    def __call__(self, reading: Reading) -> Answer:
        """Answer one article.

        Raises:
            RecordError: when it cannot be read, or the runtime fails on it.
        """

    def close(self) -> None:
        """Give back what no other scorer uses."""


@dataclass(frozen=True)
class Part:
    """A checkpoint with weights of its own, and the folder of the model it was trained on."""

    checkpoint: str
    weights: Weights
    backbone_folder: Path

    def backbone(self) -> BackboneSpec | DecoderSpec:
        """Read the spec of the model.

        Raises:
            SpecError: when it is missing or breaks a rule.
        """
        return read_backbone_spec(self.backbone_folder / "backbone.toml", self.weights.on)


@dataclass(frozen=True)
class Source:
    """Which checkpoint of which filter is to be opened, and where it is to run.

    `backbones` are folders of shared models, the nearest first; `device` and `precision` are those of `Filter`.
    """

    folder: Path
    spec: FilterSpec
    checkpoint: str
    backbones: tuple[Path, ...]
    device: str | None = None
    precision: str | None = None

    @property
    def owner(self) -> str:
        """The filter, for messages: what `distillery prefetch` takes."""
        other = "" if self.checkpoint == self.spec.default_checkpoint else f" --checkpoint {self.checkpoint}"
        return f"{self.spec.name}=={self.spec.version}{other}"

    @property
    def weights(self) -> Checkpoint:
        """The spec's entry for the checkpoint."""
        return self.spec.checkpoints[self.checkpoint]

    @property
    def parts(self) -> tuple[Part, ...]:
        """The checkpoints with weights that this one rests on: itself, or those it is made of."""
        found = self.spec.parts(self.checkpoint)
        return tuple(Part(name, weights, self.backbone_folder(weights)) for name, weights in found.items())

    def of(self, checkpoint: str) -> Source:
        """Return the same for another checkpoint of the filter."""
        return replace(self, checkpoint=checkpoint)

    def backbone_folder(self, weights: Weights) -> Path:
        """Return where the model of a checkpoint lies, or is missed."""
        places = [folder / weights.backbone for folder in self.backbones]
        return next((place for place in places if place.is_dir()), places[-1])

    def files(self) -> dict[FileRef, Path]:
        """Return the local paths of all the checkpoint's files, checked before any is opened (AC4).

        Raises:
            CheckpointError: when one is missing or damaged.
        """
        weights = self.weights
        return {ref: checkpoints.locate(ref, self.folder, weights.hub, self.owner) for ref in weights.files}

    def tables(self, weights: Weights | EnsembleCheckpoint, files: Mapping[FileRef, Path]) -> Tables:
        """Read the checkpoint's tables.

        Raises:
            CheckpointError: when one is unreadable or was made for another head.
        """
        return Tables(
            read_calibration(files[weights.calibration], weights.digest),
            read_percentiles(files[weights.percentiles], weights.digest),
        )

    def check_window(self, preprocessor: Preprocessor, model: BackboneSpec | DecoderSpec) -> None:
        """Refuse a window that the model cannot read.

        Raises:
            SpecError: with both lengths.
        """
        if preprocessor.window_tokens > model.max_tokens:
            raise SpecError(
                f"{self.folder}/filter.toml: preprocessing makes windows of {preprocessor.window_tokens} tokens; "
                f"{model.name}/v{model.version} reads at most {model.max_tokens}"
            )
