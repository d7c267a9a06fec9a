"""`distillery evaluate`: the filters beside simple baselines, on held-out articles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.training_options import DataFolder, FiltersFolder, training_extra

__all__ = ["command"]

_HEADINGS = {
    "medium_average_precision": "AP medium+",
    "medium_recall_at_precision_50": "recall at p 0.5",
    "scope_average_precision": "AP scope",
    "tier_agreement": "tier agreement",
    "average_mae": "MAE",
    "in_scope_dimension_mae": "MAE in scope",
    "in_scope_spearman": "Spearman",
}


def command(
    data: DataFolder,
    filters: FiltersFolder = Path("filters"),
    split: Annotated[str, typer.Option(help="Which split: choose on validation, report test once.")] = "test",
    as_json: JsonFlag = False,
) -> None:
    """Measure every filter, a TF-IDF ridge and the mean predictor; write metrics.json.

    Exits 1 when the filters' mean average precision at the medium tier does not beat both baselines.

    [bold]Examples[/bold]

      distillery evaluate --data labelled/
      distillery evaluate --data labelled/ --split validation --json
    """
    with training_extra():
        from distilled_filters.training.evaluate import BASELINES, STUDENT, evaluate, mean_figures
    from distilled_filters.cli.terminal import grid, plain, screen, write_json

    reports = evaluate(data, filters, split)
    means = mean_figures(reports)
    if as_json:
        write_json({"filters": reports, "means": means})
    else:
        table = grid("filter", "method", "medium+", *_HEADINGS.values())
        for name, report in [*reports.items(), ("mean of filters", {"methods": means})]:
            for method in (STUDENT, *BASELINES):
                figures = report["methods"][method]
                cells = ["-" if figures[key] is None else f"{figures[key]:.3f}" for key in _HEADINGS]
                style = "bold" if method == STUDENT else "dim"
                count = f"{figures['medium_and_above']:.0f}"
                label = name if method == STUDENT else ""
                table.add_row(*(plain(cell, style) for cell in (label, method.replace("_", " "), count, *cells)))
        screen().print(table)
    precision = {method: figures["medium_average_precision"] for method, figures in means.items()}
    if any(precision[STUDENT] <= precision[baseline] for baseline in BASELINES):
        typer.echo("the student does not beat its baselines in mean average precision at the medium tier", err=True)
        raise typer.Exit(1)
