"""`distillery train`: from labelled articles to a student, or to an expert on a language model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from distilled_filters.cli.training_options import DataFolder, FiltersFolder, training_extra
from distilled_filters.errors import SettingError
from distilled_filters.training.lora.recipe import PRESETS, ExpertRecipe, make_expert_recipe
from distilled_filters.training.recipe import Recipe, make_recipe, read_recipe

__all__ = ["command"]


class Method(StrEnum):
    """What is trained."""

    ENCODER = "encoder"
    LORA = "lora"
    QLORA = "qlora"
    FULL = "full"


def _field(name: str, panel: str, *flags: str, metavar: str | None = None) -> Any:
    """Return the option of a recipe's field; left out, the recipe's own default holds."""
    field = (ExpertRecipe.model_fields | Recipe.model_fields)[name]
    default = field.get_default(call_default_factory=True)
    if isinstance(default, bool):
        shown = "on" if default else "off"
    else:
        several = default if isinstance(default, tuple) else (default,)
        shown = "" if default in (None, (), {}) else " ".join(map(str, several))
    return typer.Option(
        *flags, help=field.description, show_default=shown or False, rich_help_panel=panel, metavar=metavar
    )


_STUDENT, _LOSS, _TEACHER, _COURSE = "The student", "Loss and sampling", "A teacher", "The course of training"
_EXPERT = "An expert on a language model (--method lora, qlora, full)"


def command(
    data: DataFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder; an interrupted run goes on from here.")],
    filters: FiltersFolder = Path("filters"),
    recipe: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="TOML file with any of the settings below; options override it."
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            help="An encoder with heads for all filters; or, for those named, an adapter on a language model (lora), "
            "one on a 4-bit model (qlora), or all its weights (full).",
            show_default="encoder",
        ),
    ] = None,
    base: Annotated[str | None, _field("base", _STUDENT)] = None,
    layers: Annotated[int | None, _field("layers", _STUDENT)] = None,
    token_dropout: Annotated[float | None, _field("token_dropout", _STUDENT)] = None,
    merge_after: Annotated[list[int] | None, _field("merge_after", _STUDENT)] = None,
    only: Annotated[list[str] | None, _field("filters", _STUDENT, "--filter", "-f", metavar="NAME")] = None,
    start: Annotated[str | None, _field("start", _STUDENT, metavar="RUN")] = None,
    regression: Annotated[str | None, _field("regression", _LOSS, metavar="NAME")] = None,
    ranking: Annotated[list[str] | None, _field("ranking", _LOSS, metavar="NAME=WEIGHT")] = None,
    needle_weight: Annotated[float | None, _field("needle_weight", _LOSS)] = None,
    teacher: Annotated[str | None, _field("teacher", _TEACHER, metavar="RUN")] = None,
    distil_weight: Annotated[float | None, _field("distil_weight", _TEACHER)] = None,
    unlabelled: Annotated[str | None, _field("unlabelled", _TEACHER, metavar="FILE")] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"Base and window: {', '.join(PRESETS)}.", rich_help_panel=_EXPERT)
    ] = None,
    revision: Annotated[str | None, _field("revision", _EXPERT)] = None,
    head_tokens: Annotated[int | None, _field("head_tokens", _EXPERT)] = None,
    tail_tokens: Annotated[int | None, _field("tail_tokens", _EXPERT)] = None,
    rank: Annotated[int | None, _field("rank", _EXPERT)] = None,
    alpha: Annotated[int | None, _field("alpha", _EXPERT)] = None,
    dropout: Annotated[float | None, _field("dropout", _EXPERT)] = None,
    targets: Annotated[list[str] | None, _field("targets", _EXPERT, "--target", metavar="LAYER")] = None,
    micro_batch: Annotated[int | None, _field("micro_batch", _EXPERT)] = None,
    gradient_checkpointing: Annotated[bool | None, _field("gradient_checkpointing", _EXPERT)] = None,
    articles: Annotated[int | None, _field("articles", _EXPERT)] = None,
    epochs: Annotated[float | None, _field("epochs", _COURSE)] = None,
    batch_size: Annotated[int | None, _field("batch_size", _COURSE)] = None,
    encoder_learning_rate: Annotated[float | None, _field("encoder_learning_rate", _COURSE)] = None,
    head_learning_rate: Annotated[float | None, _field("head_learning_rate", _COURSE)] = None,
    warmup: Annotated[float | None, _field("warmup", _COURSE)] = None,
    weight_decay: Annotated[float | None, _field("weight_decay", _COURSE)] = None,
    evaluate_every: Annotated[int | None, _field("evaluate_every", _COURSE)] = None,
    patience: Annotated[int | None, _field("patience", _COURSE)] = None,
    bf16: Annotated[bool | None, _field("bf16", _COURSE, "--bf16/--fp32")] = None,
    seed: Annotated[int | None, _field("seed", _COURSE)] = None,
) -> None:
    """Fine-tune one encoder with a head for every filter, or an expert on a language model.

    Run again with the same --output, it goes on where it was stopped.
    A GPU is used when there is one. Experts need the extra "lora".
    Their defaults: 3 epochs, an --encoder-learning-rate of 2e-4 (full: 2e-5).

    [bold]Examples[/bold]

      distillery train --data labelled/ -o runs/first
      distillery train --data labelled/ -o runs/ranked --ranking margin=0.2 --needle-weight 2 --patience 4
      distillery train --data labelled/ -o runs/longer --start runs/first --epochs 1 --encoder-learning-rate 2e-5
      distillery train --data labelled/ -o runs/small --layers 6 --teacher runs/first --unlabelled more.jsonl
      distillery train --data labelled/ -o runs/one --filter uplifting --recipe recipe.toml
      distillery train --data labelled/ -o runs/expert --filter uplifting --method lora --preset gemma3-270m
      distillery train --data labelled/ -o runs/joint -f uplifting -f belonging --method lora --preset gemma3-270m
      distillery train --data labelled/ -o runs/taught -f uplifting -f belonging --layers 6 --teacher runs/joint
    """
    given: dict[str, Any] = {
        "method": method and method.value,
        "base": base,
        "layers": layers,
        "merge_after": merge_after,
        "token_dropout": token_dropout,
        "filters": only,
        "start": start,
        "regression": regression,
        "ranking": ranking and dict(_weighted(each) for each in ranking),
        "needle_weight": needle_weight,
        "teacher": teacher,
        "distil_weight": distil_weight,
        "unlabelled": unlabelled,
        "revision": revision,
        "head_tokens": head_tokens,
        "tail_tokens": tail_tokens,
        "rank": rank,
        "alpha": alpha,
        "dropout": dropout,
        "targets": targets,
        "micro_batch": micro_batch,
        "gradient_checkpointing": gradient_checkpointing,
        "articles": articles,
        "epochs": epochs,
        "batch_size": batch_size,
        "encoder_learning_rate": encoder_learning_rate,
        "head_learning_rate": head_learning_rate,
        "warmup": warmup,
        "weight_decay": weight_decay,
        "evaluate_every": evaluate_every,
        "patience": patience,
        "bf16": bf16,
        "seed": seed,
    }
    fields = read_recipe(recipe) if recipe else {}
    fields |= {name: value for name, value in given.items() if value is not None and value != []}
    if fields.get("method", Method.ENCODER) != Method.ENCODER:
        _train_expert(fields, preset, data, filters, output)
        return
    _refuse_foreign(fields, preset)
    with training_extra():
        from distilled_filters.training.train import train

        # An expert that teaches needs the extra [lora], too.
        folder = train(make_recipe(fields), data, filters, output)
    typer.echo(
        f"trained: {folder}/student.safetensors. Next: distillery export {folder} --backbone NAME/v1 --licence LICENCE"
    )


def _train_expert(fields: dict[str, Any], preset: str | None, data: Path, filters: Path, output: Path) -> None:
    with training_extra():
        from distilled_filters.training.lora.train import train_expert

        checked = make_expert_recipe(fields, preset)
    folder = train_expert(checked, data, filters, output)
    typer.echo(
        f"trained: {folder}/student.safetensors. Next: distillery export {folder} --backbone NAME/v1 --licence LICENCE"
    )


def _refuse_foreign(fields: dict[str, Any], preset: str | None) -> None:
    """Refuse what only an expert has, and forget that the method was named: runs of encoders do not record it."""
    fields.pop("method", None)
    foreign = [name for name in fields if name in ExpertRecipe.model_fields and name not in Recipe.model_fields]
    if preset or foreign:
        raise SettingError(
            f"{', '.join([*(['preset'] if preset else []), *foreign])}: for an expert only; add --method lora"
        )


def _weighted(text: str) -> tuple[str, float]:
    name, _, weight = text.partition("=")
    try:
        return name, float(weight)
    except ValueError:
        raise SettingError(f"--ranking {text}: write a loss and its weight, such as margin=0.2") from None
