"""`distillery judge`: a language model settles where student and oracle differ most."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from distilled_filters.cli.errors import FINDINGS, fail
from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.oracle_options import OracleOptions, asks_a_model
from distilled_filters.cli.training_options import DataFolder, FiltersFolder, training_extra

__all__ = ["command"]


@asks_a_model
def command(
    lens: Annotated[str, typer.Option("--filter", "-f", metavar="NAME", help="The filter to judge.")],
    data: DataFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of findings; a second run goes on in it.")],
    oracle: OracleOptions,
    filters: FiltersFolder = Path("filters"),
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many articles to judge.")] = 100,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Splits to choose from, repeated; by default train and validation, never test."),
    ] = None,
    before_training: Annotated[
        bool, typer.Option("--before-training", help="Judge labels of a lens that has no student yet.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(help="The judge; best another model than the oracle.", rich_help_panel="The oracle"),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Let a language model judge the labels that student and oracle see most differently.

    The judge reads the article and both judgements, in random order and
    without names, gives its own scores, and says how well each one fits.

    In the folder: judge.json with the student's weak spots by dimension,
    language and length; relabel.jsonl, articles to have labelled again;
    replace.jsonl, labels by the judge; drop.jsonl, articles nobody can judge;
    judged.jsonl, every row with scores and reason.

    Exits with 0 when all were judged, with 1 when some were not, and with 2
    when the job was stopped or nothing was asked.

    [bold]Examples[/bold]

      distillery judge -f uplifting --data DATA -o judged/ --preset openai --model gpt-5.4 --budget 2
      distillery judge -f uplifting --data DATA -o judged/ -n 300 --split validation --preset gemini-pro
      distillery label -f uplifting -s judged/relabel.jsonl -o again/ --preset gemini-pro --runs 3
    """
    with training_extra("oracle"):
        from distilled_filters.training.judge.run import Job, opened
    from distilled_filters.cli.asking import agreed
    from distilled_filters.cli.terminal import write_json
    from distilled_filters.training.judge.cases import SPLITS

    endpoint = oracle.endpoint(model)
    job = Job(
        data=data, output=output, filters=filters, filter=lens, judge=endpoint, count=count,
        splits=tuple(split or SPLITS), before_training=before_training, budget_usd=oracle.budget,
    )  # fmt: skip
    with opened(job) as judging, agreed(judging, [endpoint], oracle.budget, yes=oracle.yes) as progress:
        report = asyncio.run(judging.run(progress))
    if as_json:
        write_json(report)
    else:
        _show(report, output)
    if report["stopped"]:
        fail(report["stopped"]["message"])
    if report["judged"] < report["asked"]:
        raise typer.Exit(FINDINGS)


def _show(report: dict[str, Any], output: Path) -> None:
    from distilled_filters.cli.terminal import grid, plain, screen

    console = screen()
    table = grid("distance from the judge", "articles", "student", "bias", "label", "preferred")
    sound = report["judged"] - report["advice"]["drop"]
    for group, parts in report["weak_spots"].items():
        table.add_row(plain(f"by {group}", "bold"))
        for name, spot in sorted(parts.items(), key=lambda part: -part[1]["student_error"]):
            preferred = f"{spot['student_preferred']:.0%}" if "student_preferred" in spot else ""
            table.add_row(
                plain(f"  {name}"), f"{spot.get('n', sound):,}", f"{spot['student_error']:.2f}",
                f"{spot['student_bias']:+.2f}", f"{spot['oracle_error']:.2f}", preferred,
            )  # fmt: skip
    if report["judged"]:
        console.print(table)
        console.print()
    counts = ", ".join(f"{name} {count:,}" for name, count in report["advice"].items())
    console.print(plain(f"{report['judged']:,} of {report['asked']:,} judged by {report['judge']}: {counts}"))
    for reason, count in report["failed"].items():
        console.print(plain(f"no opinion: {reason}: {count:,}; {report['messages'][reason]}", "red"), soft_wrap=True)
    console.print(
        "These are the rows on which student and oracle differ most, not a sample: "
        "the errors say where to look, not how good the student is.",
        style="dim",
        soft_wrap=True,
    )
    console.print(
        plain(f"cost ${report['spending']['usd']:.4f}; wrote {output / 'judged.jsonl'}", "dim"), soft_wrap=True
    )
