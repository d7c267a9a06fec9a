"""`distillery package`: one filter as a wheel, to pin in requirements by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.publishing import FilterFolder, FiltersHome, find_folder
from distilled_filters.cli.training_options import training_extra

__all__ = ["command"]


def command(
    name: FilterFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the wheel.")] = Path("dist"),
    with_backbone: Annotated[
        bool,
        typer.Option("--with-backbone", help="Carry the backbone even where this library embeds the same one."),
    ] = False,
    filters: FiltersHome = Path("filters"),
    as_json: JsonFlag = False,
) -> None:
    """Make a wheel of one filter: its data, an entry point, and the engine range it needs.

    The wheel's version is the filter's. Installed beside the library, it is
    found by the filter's name and takes the place of the library's version of
    the same MAJOR. A backbone that this library does not embed travels along.
    The same folder makes the same bytes.

    [bold]Examples[/bold]

      distillery package uplifting/v1 -o dist/
      pip install dist/distilled_filter_uplifting-1.1.0-py3-none-any.whl
    """
    from distilled_filters.checkpoints import sha256_of
    from distilled_filters.cli.terminal import plain, screen, write_json

    with training_extra("publish"):
        from distilled_filters.training.publish.wheel import package

    wheel = package(find_folder(name, filters), out, with_backbone=with_backbone)
    digest, size = sha256_of(wheel), wheel.stat().st_size
    if as_json:
        write_json({"wheel": str(wheel), "sha256": digest, "size": size})
        return
    distribution, version = wheel.name.split("-")[:2]
    screen().print(plain(f"{wheel}, {size:,} bytes, SHA-256 {digest}"), soft_wrap=True)
    screen().print(plain(f"pin it in requirements as {distribution.replace('_', '-')}=={version}"), soft_wrap=True)
