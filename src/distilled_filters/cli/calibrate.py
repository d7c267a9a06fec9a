"""`distillery calibrate`: isotonic tables, conformal intervals, percentiles."""

from __future__ import annotations

from pathlib import Path

from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.training_options import DataFolder, FiltersFolder, training_extra

__all__ = ["command"]


def command(data: DataFolder, filters: FiltersFolder = Path("filters"), as_json: JsonFlag = False) -> None:
    """Fit what turns the student's scores into the oracle's, on articles that trained nothing.

    An isotonic table is kept only where it lowers the error on the validation split.

    [bold]Examples[/bold]

      distillery calibrate --data labelled/
    """
    with training_extra():
        from distilled_filters.training.calibrate import calibrate
    from distilled_filters.cli.terminal import grid, plain, screen, write_json

    kept = calibrate(data, filters)
    if as_json:
        write_json(kept)
        return
    table = grid("filter", "isotonic tables kept")
    for name, dimensions in kept.items():
        table.add_row(plain(name, "bold"), plain(", ".join(dimensions) or "none"))
    screen().print(table)
