"""`distillery calibrate`: isotonic tables, conformal intervals, percentiles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.training_options import CacheFolder, DataFolder, FiltersFolder, training_extra

__all__ = ["command"]


def command(
    data: DataFolder,
    filters: FiltersFolder = Path("filters"),
    checkpoint: Annotated[
        str | None, typer.Option(help="Fit the tables of this LoRA checkpoint, in the filters that have it.")
    ] = None,
    cache: CacheFolder = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit first looks, and what turns the student's scores into the oracle's.

    An isotonic table is kept only where it lowers the error on the validation split. A
    screen is on only where it loses at most 1% of the articles of medium and above that
    it was not fitted on.

    [bold]Examples[/bold]

      distillery calibrate --data labelled/
      distillery calibrate --data labelled/ --checkpoint gemma3_270m_lora
    """
    with training_extra():
        from distilled_filters.training.calibrate import calibrate
    from distilled_filters.cli.terminal import grid, plain, screen, write_json

    if checkpoint:
        from distilled_filters.training.beside import calibrate_checkpoint

        isotonic = calibrate_checkpoint(data, filters, checkpoint, cache)
        if as_json:
            write_json({name: {"isotonic": names} for name, names in isotonic.items()})
            return
        table = grid("filter", "isotonic tables kept")
        for name, names in isotonic.items():
            table.add_row(plain(name, "bold"), plain(", ".join(names) or "none"))
        screen().print(table)
        return
    fitted = calibrate(data, filters)
    if as_json:
        write_json({name: each.to_dict() for name, each in fitted.items()})
        return
    table = grid("filter", "isotonic tables kept", "screen", "recall, medium+", "ends early, natural")
    for name, each in fitted.items():
        found = each.screen
        cells = (
            ", ".join(each.isotonic) or "none",
            "off" if found.below is None else f"below {found.below:g}",
            f"{found.recall:.3f} of {found.positives}",
            f"{found.natural_ended:.0%}",
        )
        table.add_row(plain(name, "bold"), *map(plain, cells))
    screen().print(table)
