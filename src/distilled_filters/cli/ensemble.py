"""`distillery ensemble`: one score from several checkpoints of a filter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.training_options import CacheFolder, DataFolder, FiltersFolder, training_extra

__all__ = ["command"]


def command(
    data: DataFolder,
    member: Annotated[
        list[str], typer.Option(help="A checkpoint that takes part; give two or more. Filters that have all get one.")
    ],
    filters: FiltersFolder = Path("filters"),
    method: Annotated[
        Literal["mean", "weighted", "stacked"],
        typer.Option(help="All alike; a factor a member; or a factor a member and dimension."),
    ] = "stacked",
    name: Annotated[str, typer.Option(help="What filter.toml is to call the ensemble.")] = "ensemble",
    cache: CacheFolder = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit and write an ensemble, with tables of its own.

    Factors are fitted on the validation split to the members' calibrated dimensions. A score of
    an ensemble has `disagreement`: how far its members' weighted averages lie apart.

    [bold]Examples[/bold]

      distillery ensemble --data labelled/ --member me5_small --member gemma3_270m_lora
      distillery ensemble --data labelled/ --member me5_small --member gemma3_270m_lora --method mean
      distillery evaluate --data labelled/ --checkpoint ensemble
    """
    from distilled_filters.cli.terminal import grid, plain, screen, write_json

    with training_extra():
        from distilled_filters.training.ensemble import fit_ensembles

    found = fit_ensembles(data, filters, member, method=method, name=name, cache=cache)
    if as_json:
        write_json(found)
        return
    table = grid("filter", "member", "factors of its dimensions", "isotonic tables kept")
    for each, fitted in found.items():
        for place, (one, factors) in enumerate(fitted["coefficients"].items()):
            cells = [one, " ".join(f"{factor:.2f}" for factor in factors)]
            isotonic = "" if place else ", ".join(fitted["isotonic"]) or "none"
            table.add_row(plain("" if place else each, "bold"), *map(plain, [*cells, isotonic]))
    screen().print(table)
