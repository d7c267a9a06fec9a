"""`distillery release`: from a training run to filter folders that score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distilled_filters.cli.training_options import FiltersFolder, training_extra

__all__ = ["command"]


def command(
    run: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder that `train` has finished.")],
    backbone: Annotated[str, typer.Option(help="Name and version of the backbone to write, such as me5_small/v1.")],
    licence: Annotated[str, typer.Option(help="Licence of the base encoder's weights, such as MIT.")],
    filters: FiltersFolder = Path("filters"),
    base_name: Annotated[str | None, typer.Option(help="What specs and cards call the base encoder.")] = None,
    fp32: Annotated[
        bool, typer.Option("--fp32", help="Keep fp32 weights: five times the size, half the speed.")
    ] = False,
) -> None:
    """Export the encoder to ONNX and write every filter's head and spec.

    Calibration starts as the identity; `calibrate` comes next.

    [bold]Examples[/bold]

      distillery release runs/first --backbone me5_small/v1 --licence MIT
    """
    with training_extra():
        from distilled_filters.training.release import release

    folder = release(run, filters, backbone, licence=licence, base=base_name, fp32=fp32)
    typer.echo(f"released: {folder}. Next: distillery calibrate")
