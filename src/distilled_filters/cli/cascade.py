"""`distillery cascade`: a student that asks an expert only where the tier is open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distilled_filters.cli.errors import FINDINGS
from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.training_options import CacheFolder, DataFolder, FiltersFolder, training_extra

__all__ = ["command"]


def command(
    data: DataFolder,
    expert: Annotated[str, typer.Option(help="The LoRA checkpoint to be asked; every filter that has it gets one.")],
    filters: FiltersFolder = Path("filters"),
    student: Annotated[
        str | None, typer.Option(help="The encoder student that asks; by default that of the default checkpoint.")
    ] = None,
    name: Annotated[str, typer.Option(help="What filter.toml is to call the cascade.")] = "cascade",
    agreement: Annotated[
        float, typer.Option(min=0, max=1, help="The share of the expert's tiers to keep, on validation.")
    ] = 0.985,
    recall: Annotated[
        float, typer.Option(min=0, max=1, help="The share of its articles of medium and above to keep.")
    ] = 0.95,
    cost: Annotated[
        float, typer.Option(min=0, show_default="a third", help="What it may cost, as a part of the expert's time.")
    ] = 1 / 3,
    cache: CacheFolder = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit and write a cascade: screen, then student, then the expert where the tier is open.

    The ranges of the student's weighted average that go to the expert are fitted on the
    validation split, never on test. Where the goals cannot be met at the cost, nothing is
    written for that filter, and the command exits with 1. Answers of models are kept, so that the
    expert reads every article once.

    [bold]Examples[/bold]

      distillery cascade --data labelled/ --expert gemma3_270m_lora
      distillery cascade --data labelled/ --expert gemma3_270m_lora --agreement 0.99 --cost 0.5
      distillery evaluate --data labelled/ --checkpoint cascade
    """
    from distilled_filters.cli.terminal import grid, plain, screen, write_json

    with training_extra():
        from distilled_filters.training.cascade import fit_cascades
        from distilled_filters.training.route import Goal

    found = fit_cascades(
        data, filters, expert, student=student, name=name, goal=Goal(agreement, recall), most_cost=cost, cache=cache
    )
    if as_json:
        write_json([each.to_dict() for each in found])
    else:
        table = grid("filter", "expert is asked", "", "tier agreement", "recall, medium+", "asked about", "cost")
        for each in found:
            ranges = ", ".join(f"{low:.2f}-{high:.2f}" for low, high in each.ask)
            for label, figures in (("fitted", each.fitted), ("held out", each.held_out)):
                if figures is not None and each.cost is not None:
                    kept = [f"{figures[key]:.3f}" for key in ("tier_agreement", "medium_recall", "expert_share")]
                    first = label == "fitted"
                    cells = [ranges if first else "", label, *kept, f"{each.cost['cost']:.2f}" if first else ""]
                    table.add_row(plain(each.filter if first else "", "bold"), *map(plain, cells))
        if table.rows:
            screen().print(table)
    for each in found:
        if each.problem:
            typer.echo(f"{each.filter}: no cascade was written: {each.problem}", err=True)
    if any(each.problem for each in found):
        raise typer.Exit(FINDINGS)
