"""`distillery train`: from labelled articles to a student."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distilled_filters.cli.training_options import DataFolder, FiltersFolder, training_extra

__all__ = ["command"]


def command(
    data: DataFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder; an interrupted run goes on from here.")],
    filters: FiltersFolder = Path("filters"),
    base: Annotated[str, typer.Option(help="Base encoder: a Hub id or a folder.")] = "intfloat/multilingual-e5-small",
    layers: Annotated[int | None, typer.Option(min=1, help="Keep the first N layers; all by default.")] = None,
    epochs: Annotated[float, typer.Option(min=0.01, help="Passes over the training split.")] = 4,
    batch_size: Annotated[int, typer.Option(min=1, help="Articles a step.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of shuffling and dropout.")] = 20,
    bf16: Annotated[bool, typer.Option(help="bfloat16 autocast, faster where the processor has it.")] = True,
) -> None:
    """Fine-tune one encoder with a head for every lens under --filters.

    [bold]Examples[/bold]

      distillery train --data labelled/ --output runs/first
      distillery train --data labelled/ --output runs/small --base models/my-encoder --layers 6
    """
    with training_extra():
        from distilled_filters.training.train import Recipe, train

    recipe = Recipe(base=base, layers=layers, epochs=epochs, batch_size=batch_size, seed=seed, bf16=bf16)
    folder = train(recipe, data, filters, output)
    typer.echo(
        f"trained: {folder}/student.safetensors. Next: distillery export {folder} --backbone NAME/v1 --licence LICENCE"
    )
