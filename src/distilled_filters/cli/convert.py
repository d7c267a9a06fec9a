"""`distillery convert`: a GGUF language model as the safetensors that experts are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distilled_filters.cli.training_options import training_extra

__all__ = ["command"]


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE.gguf", exists=True, dir_okay=False, help="A GGUF file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
) -> None:
    """Turn a GGUF language model into config.json, model.safetensors and tokenizer.json.

    Weights become bf16; `train --method lora --base FOLDER` starts from them. Needs the extra "lora".

    [bold]Examples[/bold]

      distillery convert gemma-3-270m-q4_k_m.gguf --output models/gemma3-270m
    """
    with training_extra():
        from distilled_filters.training.lora.gguf import convert_gguf
    folder = convert_gguf(file, output)
    size = sum(path.stat().st_size for path in folder.iterdir())
    typer.echo(f"converted: {folder}, {size / 1e6:.0f} MB. Next: distillery train --method lora --base {folder}")
