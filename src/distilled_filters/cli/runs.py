"""`distillery runs`: finished training runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distilled_filters.cli.options import JsonFlag

__all__ = ["command"]


def command(
    runs: Annotated[list[Path], typer.Argument(exists=True, file_okay=False, help="Folders that `train` has made.")],
    as_json: JsonFlag = False,
) -> None:
    """Compare finished runs on validation, best first: what differs between them, and what they reached.

    Runs that have not finished, or measured no ranking, are left out and named.

    [bold]Examples[/bold]

      distillery runs runs/*
      distillery runs runs/ablation/* --json | jq -r '.[0].run'
    """
    from dataclasses import asdict

    from distilled_filters.cli.terminal import grid, notes, plain, screen, write_json
    from distilled_filters.errors import SettingError
    from distilled_filters.training.compare import compare
    from distilled_filters.training.record import is_finished, read_run

    found = [read_run(folder) for folder in runs if is_finished(folder)]
    found = [run for run in found if run.looks]
    for folder in runs:
        if folder not in [run.folder for run in found]:
            notes().print(plain(f"left out: {folder} holds no finished run with a ranking on validation", "yellow"))
    if not found:
        raise SettingError("none of these folders holds a finished run; see `distillery train --help`")
    compared = compare(found)
    if as_json:
        write_json([asdict(each) for each in compared])
        return
    names = list(compared[0].differs)
    table = grid(
        "run", *(name.replace("_", " ") for name in names),
        "ranking", "AP medium+", "AP scope", "loss", "best step", "minutes",
    )  # fmt: skip
    for each in compared:
        figures = [f"{value:.3f}" for value in (each.ranking, each.medium_ap, each.scope_ap, each.validation_loss)]
        cells = [_cell(name, each.differs[name]) for name in names]
        steps = f"{each.best_step:,} of {each.steps:,}"
        style = "bold" if each is compared[0] and len(compared) > 1 else ""
        table.add_row(*(plain(cell, style) for cell in (each.run, *cells, *figures, steps, f"{each.minutes:.1f}")))
    screen().print(table)


def _cell(name: str, value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={weight:g}" for name, weight in value.items()) or "-"
    if isinstance(value, list):
        return " ".join(map(str, value)) or ("all" if name == "filters" else "-")
    if isinstance(value, float):
        return f"{value:g}"
    return "-" if value is None else str(value)
