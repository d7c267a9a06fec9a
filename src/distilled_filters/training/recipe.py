"""The recipe of a training run: what may be set, what it means, and how a `recipe.toml` is read."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from distilled_filters.errors import SettingError
from distilled_filters.spec import problems_of
from distilled_filters.training.record import read_run

__all__ = ["Course", "Recipe", "make_recipe", "nearest", "read_recipe"]

_Positive = Annotated[float, Field(gt=0)]
_Folder = Annotated[str, Field(min_length=1)]


class Course(BaseModel):
    """What every kind of student is trained by.

    The fields' descriptions are also the help texts of `distillery train`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: Annotated[_Folder, Field(description="The model to start from: a Hub id or a folder.")]
    filters: Annotated[
        tuple[str, ...],
        Field(description="Train for this filter only; may be repeated. All by default; experts need a name."),
    ] = ()
    epochs: Annotated[_Positive, Field(description="Passes over as many articles as the training split has.")] = 4
    batch_size: Annotated[int, Field(ge=1, description="Articles a step.")] = 16
    encoder_learning_rate: Annotated[
        _Positive, Field(description="The peak for the encoder (AdamW, cosine decay).")
    ] = 7e-5
    head_learning_rate: Annotated[_Positive, Field(description="The peak for the heads.")] = 1e-3
    warmup: Annotated[float, Field(ge=0, le=1, description="The share of all steps over which the rates rise.")] = 0.1
    weight_decay: Annotated[float, Field(ge=0, description="As in AdamW.")] = 0.01
    regression: Annotated[str, Field(description="Loss on dimensions and weighted averages: huber or mse.")] = "huber"
    ranking: Annotated[
        dict[str, _Positive],
        Field(description="A ranking loss beside it and its weight: margin, listmle or triplet; may be repeated."),
    ] = Field(default_factory=dict)
    needle_weight: Annotated[
        _Positive,
        Field(description="How many times as often an article of the medium tier or above in any lens is drawn."),
    ] = 1
    evaluate_every: Annotated[
        int, Field(ge=1, description="Steps between looks at the validation split, and between checkpoints.")
    ] = 200
    patience: Annotated[
        int | None,
        Field(ge=1, description="Stop after so many looks without a better ranking; never before --epochs by default."),
    ] = None
    bf16: Annotated[bool, Field(description="bfloat16 autocast, faster where the processor has it.")] = True
    seed: Annotated[int, Field(ge=0, description="Seed of shuffling, needle sampling and dropout.")] = 20

    @field_validator("regression")
    @classmethod
    def _is_regression(cls, value: str) -> str:
        from distilled_filters.training.losses import REGRESSION

        return _known(value, REGRESSION, "regression loss")

    @field_validator("ranking")
    @classmethod
    def _are_rankings(cls, value: dict[str, float]) -> dict[str, float]:
        from distilled_filters.training.losses import RANKING

        return {_known(name, RANKING, "ranking loss"): weight for name, weight in value.items()}

    @property
    def articles_at_once(self) -> int:
        """How many articles of a step are worked out together."""
        return self.batch_size


class Recipe(Course):
    """Everything that decides the training of an encoder student beside its data."""

    base: Annotated[_Folder, Field(description="Base encoder: a Hub id or a folder.")] = (
        "intfloat/multilingual-e5-small"
    )
    layers: Annotated[int | None, Field(ge=1, description="Keep the encoder's first N layers; all by default.")] = None
    merge_after: Annotated[
        tuple[int, ...],
        Field(
            description="Average neighbouring tokens in pairs after this layer: later ones cost half; may be repeated."
        ),
    ] = ()
    token_dropout: Annotated[
        float,
        Field(ge=0, lt=1, description="Leave out this share of the tokens, drawn anew each step, against overfitting."),
    ] = 0.0
    start: Annotated[
        _Folder | None,
        Field(
            description="Go on from this finished run's student. With fewer --layers, its first ones and fresh heads."
        ),
    ] = None
    teacher: Annotated[
        _Folder | None,
        Field(description="A finished run of any method, whose outputs the student imitates beside the labels."),
    ] = None
    distil_weight: Annotated[
        float, Field(gt=0, le=1, description="The teacher's share of the loss; the labels have the rest.")
    ] = 0.5
    unlabelled: Annotated[
        _Folder | None,
        Field(description="JSON lines of further articles, on which the student learns from the teacher alone."),
    ] = None

    @field_validator("merge_after")
    @classmethod
    def _in_order(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(value)))

    @field_validator("start", "teacher", "unlabelled")
    @classmethod
    def _is_plain_path(cls, value: str | None) -> str | None:
        # `runs/first/` and `runs/first` are one recipe.
        return None if value is None else str(Path(value))

    @model_validator(mode="after")
    def _has_a_teacher(self) -> Self:
        if self.unlabelled and not self.teacher:
            raise ValueError("unlabelled articles need a teacher; name a finished run with --teacher")
        return self


def read_recipe(path: Path) -> dict[str, Any]:
    """Return what a `recipe.toml` sets, not yet checked.

    Raises:
        SettingError: when it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: not readable TOML: {error}") from error


def make_recipe(fields: Mapping[str, Any]) -> Recipe:
    """Check what was set; a run that goes on from another keeps its encoder's shape where none is given.

    Raises:
        SettingError: naming every field that is wrong, its value, and the nearest known name.
    """
    inherited = {}
    if fields.get("start"):
        run = read_run(Path(fields["start"]))
        if run.is_expert:
            raise SettingError(f"{run.folder} trained a language model; an encoder cannot go on from it")
        inherited = {key: run.recipe[key] for key in ("base", "layers", "merge_after") if key in run.recipe}
    try:
        return Recipe.model_validate({**inherited, **fields})
    except ValidationError as error:
        raise SettingError(f"recipe: {problems_of(error)}") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: what it may have meant, and what there is."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"{f'did you mean {near[0]!r}? ' if near else ''}Known: {', '.join(names)}"


def _known(name: str, known: Iterable[str], what: str) -> str:
    names = list(known)
    if name not in names:
        raise ValueError(f"no {what} {name!r}; {nearest(name, names)}")
    return name
