"""`distillery evaluate`: the filters beside the teacher and simple baselines, on held-out articles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.training_options import DataFolder, FiltersFolder, training_extra

if TYPE_CHECKING:
    from rich.console import Console

    from distilled_filters.training.evaluate import Evaluation
    from distilled_filters.training.evaluate.figures import Figures
    from distilled_filters.training.evaluate.gates import Outcome

__all__ = ["command"]

_GATES = "gates.toml"


def command(
    data: DataFolder,
    filters: FiltersFolder = Path("filters"),
    split: Annotated[str, typer.Option(help="Which split: choose on validation, report test once.")] = "test",
    report: Annotated[
        Path | None, typer.Option(help="Write a page for people, its plots and evaluation.json into this folder.")
    ] = None,
    gates: Annotated[
        Path | None, typer.Option(help="What must hold; by default gates.toml in --filters, where it is.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="The encoder before fine-tuning, a folder or Hub id: adds heads on it, frozen.")
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            exists=True,
            file_okay=False,
            help="The filters' training run, repeated where they are the mean of several: adds int8 against fp32.",
        ),
    ] = None,
    head_only: Annotated[bool, typer.Option("--head-only", help="Add head and tail against the head alone.")] = False,
    speed: Annotated[bool, typer.Option("--speed", help="Add articles a second, all filters together.")] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Keeps the embeddings of --base; by default under ~/.cache/distilled-filters.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Measure this checkpoint beside the default one of the filters that have it.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure every filter beside the teacher and its baselines; write each metrics.json.

    Exits 1 when a gate fails, and says which.

    [bold]Examples[/bold]

      distillery evaluate --data labelled/ --split validation
      distillery evaluate --data labelled/ --report reports/first --base intfloat/multilingual-e5-small
      distillery evaluate --data labelled/ --run runs/first --head-only --speed --json
      distillery evaluate --data labelled/ --checkpoint gemma3_270m_lora
    """
    if checkpoint:
        _beside(data, filters, checkpoint, split, cache, as_json)
        return
    with training_extra():
        from distilled_filters.training.evaluate import evaluate
        from distilled_filters.training.evaluate.gates import check, read_gates
        from distilled_filters.training.evaluate.report import write_report
    from distilled_filters.cli.terminal import notes, screen, write_json
    from distilled_filters.registry import newest_folders

    declared = gates or (filters / _GATES if (filters / _GATES).is_file() else None)
    names = [folder.parent.name for folder in newest_folders(filters)]
    bounds = read_gates(declared, names) if declared else {}
    evaluation = evaluate(
        data, filters, split, base=base, cache=cache, runs=runs or (), head_only=head_only, speed=speed
    )  # fmt: skip
    outcomes = check(bounds, evaluation)
    if as_json:
        write_json(evaluation.document() | {"gates": [vars(outcome) for outcome in outcomes]})
    else:
        _show(screen(), evaluation, outcomes)
    if report:
        notes().print(f"written: {write_report(evaluation, outcomes, report)}")
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        typer.echo(f"gate failed: {outcome}", err=True)
    if failed:
        raise typer.Exit(1)


def _beside(data: Path, filters: Path, checkpoint: str, split: str, cache: Path | None, as_json: bool) -> None:
    """Show one further checkpoint beside the default one, filter by filter."""
    from distilled_filters.cli.terminal import grid, plain, screen, write_json

    with training_extra():
        from distilled_filters.training.beside import evaluate_checkpoint
        from distilled_filters.training.evaluate.figures import FIGURES, HEADLINES

    found = evaluate_checkpoint(data, filters, checkpoint, split, cache)
    if as_json:
        write_json([each.to_dict() for each in found])
        return
    console = screen()
    for each in found:
        console.print(plain(f"{each.filter} on {each.n} articles, {each.split} split", "bold"))
        table = grid("figure", *each.methods, "lead, 95%")
        for key in dict.fromkeys([*HEADLINES, *FIGURES]):
            lead = each.leads_95.get(key)
            cells = [_number(measured.get(key)) for measured in each.methods.values()]
            table.add_row(plain(FIGURES[key].label), *cells, f"{lead[0]:+.3f} to {lead[1]:+.3f}" if lead else "")
        console.print(table)
        if each.cascade:
            console.print(plain(_of_expert(each.cascade)))
        console.print()


def _of_expert(figures: Figures) -> str:
    """Say what a cascade keeps of its expert, and what it costs."""
    from distilled_filters.training.evaluate.figures import FIGURES

    kept = {key: _number(value) for key, value in figures.items()}
    return (
        f"against the expert alone: {FIGURES['tier_agreement'].label} {kept['tier_agreement']} (95%: "
        f"{kept['tier_agreement_from']} to {kept['tier_agreement_to']}), {FIGURES['medium_recall'].label} "
        f"{kept['medium_recall']} (the student alone {kept['student_tier_agreement']} and "
        f"{kept['student_medium_recall']}). {kept['expert_share']} of the articles reach it, of those drawn at "
        f"natural rates {kept['natural_expert_share']}; {kept['screen_share']} end at the first look. Cost "
        f"{kept['cost']} of the expert's: {kept['student_seconds']} s an article for the student, "
        f"{kept['expert_seconds']} s for the expert"
    )


def _show(console: Console, evaluation: Evaluation, outcomes: Sequence[Outcome]) -> None:
    """Show the means with methods side by side, then every filter in one line."""
    from distilled_filters.cli.terminal import grid, plain
    from distilled_filters.training.evaluate.figures import FIGURES, HEADLINES

    filters = f"{len(evaluation.reports)} filter{'s' if len(evaluation.reports) > 1 else ''}"
    console.print(plain(f"{filters} on {evaluation.n} articles, {evaluation.split} split", "bold"))
    console.print()
    means = grid("mean of the filters", *(method.replace("_", " ") for method in evaluation.methods))
    for key in dict.fromkeys([*HEADLINES, *evaluation.means[evaluation.methods[0]]]):
        if key in FIGURES:
            values = [evaluation.means[method][key] for method in evaluation.methods]
            style = "bold" if key in HEADLINES else ""
            means.add_row(plain(FIGURES[key].label, style), *map(_number, values))
    console.print(means)
    ratio = evaluation.means[evaluation.methods[0]]["worst_language_ratio"]
    console.print()
    console.print(plain(f"in-scope MAE of the worst of nl, es, pt, as a multiple of en's: {_number(ratio)}"))
    console.print()
    _show_filters(console, evaluation)
    for name, effect in evaluation.effects.items():
        _show_effect(console, name, effect)
    if evaluation.speed:
        console.print()
        for row in evaluation.speed["rows"]:
            console.print(plain(
                f"{row['articles_per_second']:.1f} articles a second, all filters, {row['articles']} "
                f"({row['n']} articles, {row['mean_tokens_read']:.0f} tokens read on average)"
            ))  # fmt: skip
        console.print(plain(f"{evaluation.speed['threads']} threads; {evaluation.speed['machine']}", "dim"))
    console.print()
    for note in evaluation.notes:
        console.print(plain(note, "dim"))
    passed = sum(outcome.passed for outcome in outcomes)
    console.print(plain(f"gates: {passed} of {len(outcomes)} hold" if outcomes else "no gates are declared"))


def _show_filters(console: Console, evaluation: Evaluation) -> None:
    from distilled_filters.cli.terminal import grid, plain

    columns = {
        "medium_and_above": "medium+",
        "medium_average_precision": "AP",
        "medium_recall_at_precision_50": "recall@p.5",
        "scope_average_precision": "AP scope",
        "tier_agreement": "tiers",
        "average_mae": "MAE",
        "in_scope_dimension_mae": "in scope",
        "in_scope_spearman": "Spearman",
    }
    table = grid("filter", *columns.values())
    for name, report in evaluation.reports.items():
        student = report["methods"][evaluation.methods[0]]
        cells = [f"{student[key]:.0f}" if key == "medium_and_above" else _number(student[key]) for key in columns]
        table.add_row(plain(name), *cells)
    console.print(table)


def _show_effect(console: Console, name: str, effect: dict[str, dict[str, float | None]]) -> None:
    from distilled_filters.cli.terminal import grid, plain
    from distilled_filters.training.evaluate.figures import FIGURES, HEADLINES
    from distilled_filters.training.evaluate.report import EFFECTS

    shipped, changed = EFFECTS[name]
    moved = effect["mean_absolute_change"]
    table = grid("mean of the filters", shipped, changed)
    for key in HEADLINES:
        table.add_row(FIGURES[key].label, _number(effect["shipped"][key]), _number(effect["changed"][key]))
    console.print()
    console.print(table)
    console.print(plain(
        f"mean absolute change: {_number(moved['average'])} of weighted averages, "
        f"{_number(moved['dimensions'])} of dimensions"
    ))  # fmt: skip


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
