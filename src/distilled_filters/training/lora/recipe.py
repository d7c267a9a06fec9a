"""The recipe of an expert: a LoRA adapter, or a whole language model, for one filter or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from distilled_filters.errors import SettingError
from distilled_filters.spec import problems_of
from distilled_filters.training.recipe import Course, nearest

__all__ = ["METHODS", "PRESETS", "ExpertRecipe", "make_expert_recipe"]

METHODS = ("lora", "qlora", "full")

_SHORT = {"head_tokens": 380, "tail_tokens": 120}
_LONG = {"head_tokens": 1500, "tail_tokens": 500, "micro_batch": 2, "gradient_checkpointing": True}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "qwen2.5-7b": {"base": "Qwen/Qwen2.5-7B-Instruct", **_LONG},
    "qwen2.5-1.5b": {"base": "Qwen/Qwen2.5-1.5B-Instruct", **_SHORT},
    "qwen2.5-0.5b": {"base": "Qwen/Qwen2.5-0.5B-Instruct", **_SHORT},
    "gemma3-1b": {"base": "google/gemma-3-1b-it", **_SHORT},
    "gemma3-270m": {"base": "google/gemma-3-270m", **_SHORT},
    "smollm2-135m": {"base": "HuggingFaceTB/SmolLM2-135M-Instruct", **_SHORT},
}
"""What a preset sets; windows are of 2,048 or 512 tokens with all that stands around the text."""


class ExpertRecipe(Course):
    """Everything that decides the training of an expert beside its data.

    Rank, alpha, dropout and targets are those of Hu et al. (2021) and the QLoRA paper
    (Dettmers et al., 2023) in common use.
    """

    method: Annotated[
        Literal["lora", "qlora", "full"],
        Field(description="lora: an adapter; qlora: one on a 4-bit model (GPU); full: every weight."),
    ] = "lora"
    revision: Annotated[
        str | None, Field(description="The Hub commit of --base; its newest by default. Specs name it in full.")
    ] = None
    filters: Annotated[tuple[str, ...], Field(min_length=1)]
    prefix: str = ""
    head_tokens: Annotated[int, Field(gt=0, description="Tokens read from an article's beginning.")] = 380
    tail_tokens: Annotated[int, Field(gt=0, description="Tokens read from an article's end.")] = 120
    rank: Annotated[int, Field(gt=0, description="Of the adapter's matrices.")] = 16
    alpha: Annotated[int, Field(gt=0, description="The adapter's scale, divided by its rank.")] = 32
    dropout: Annotated[float, Field(ge=0, lt=1, description="On the adapter's input.")] = 0.05
    targets: Annotated[
        tuple[str, ...], Field(min_length=1, description="Layers that get an adapter; may be repeated.")
    ] = ("q_proj", "k_proj", "v_proj", "o_proj")
    epochs: Annotated[float, Field(gt=0)] = 3
    encoder_learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    micro_batch: Annotated[
        int, Field(ge=1, description="Articles of a step that are worked out together; fewer take less memory.")
    ] = 4
    gradient_checkpointing: Annotated[bool, Field(description="Less memory for a third more time.")] = False
    articles: Annotated[
        int | None,
        Field(ge=2, description="Train on so many articles: half in scope, the best first, half drawn at random."),
    ] = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.batch_size % self.articles_at_once:
            raise ValueError(f"micro_batch {self.micro_batch} does not divide batch_size {self.batch_size}")
        return self

    @property
    def articles_at_once(self) -> int:
        """How many articles of a step are worked out together."""
        return min(self.micro_batch, self.batch_size)


def make_expert_recipe(fields: Mapping[str, Any], preset: str | None = None) -> ExpertRecipe:
    """Check what was set, over a preset.

    Raises:
        SettingError: naming every field that is wrong, its value, and the nearest known name.
    """
    if preset is not None and preset not in PRESETS:
        raise SettingError(f"no preset {preset!r}; {nearest(preset, PRESETS)}")
    if not fields.get("filters"):
        raise SettingError("name the filter that the expert is for with --filter; several learn one adapter together")
    if preset is None and "base" not in fields:
        raise SettingError(f"name a language model with --base, or a preset: {', '.join(PRESETS)}")
    if fields.get("method") == "full" and len(fields["filters"]) > 1:
        raise SettingError("every weight is trained for one filter; name one, or let several learn an adapter: lora")
    gentle = {"encoder_learning_rate": 2e-5} if fields.get("method") == "full" else {}
    try:
        return ExpertRecipe.model_validate({**gentle, **(PRESETS[preset] if preset else {}), **fields})
    except ValidationError as error:
        raise SettingError(f"recipe: {problems_of(error)}") from error
