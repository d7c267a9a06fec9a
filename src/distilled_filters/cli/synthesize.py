"""`distillery synthesize`: articles written to fill what the data has too little of."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilled_filters.cli.errors import FINDINGS, fail
from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.oracle_options import OracleOptions, asks_a_model
from distilled_filters.cli.training_options import DataFolder, FiltersFolder, training_extra

if TYPE_CHECKING:
    from distilled_filters.training.oracle.providers import Endpoint
    from distilled_filters.training.synthesize.run import Job

__all__ = ["command"]


@asks_a_model
def command(
    lens: Annotated[str, typer.Option("--filter", "-f", metavar="NAME", help="The filter to write for.")],
    data: DataFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of articles; a second run goes on in it.")],
    oracle: OracleOptions,
    filters: FiltersFolder = Path("filters"),
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many articles to write.")] = 100,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="A tier, or look-alike; may be repeated. By default look-alikes and all tiers but the last."),
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="A language of the lens; may be repeated. All of them by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of target scores and settings.")] = 0,
    label: Annotated[bool, typer.Option("--label/--no-label", help="Have what was written labelled at once.")] = True,
    label_model: Annotated[
        str | None,
        typer.Option(help="The model that labels; best another one than writes.", rich_help_panel="The oracle"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model that writes.", rich_help_panel="The oracle")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Have articles written where the data is thin: rare tiers, languages, look-alikes.

    Each article is wished for with target scores of its own, always for the
    tier and language that has least. It is then labelled as any other article
    is, by a model that does not see the targets: train on those labels. What
    copies an article of the data folder is refused.

    In the folder: articles.jsonl, marked with the stratum "synthetic", the
    origin and the target; labels/ as `distillery label` writes it;
    refused.jsonl; synthesize.json. Merge with `prepare --mix 70/30`.

    Exits with 0 when every article is written, with 1 when some are not, and
    with 2 when the job was stopped or nothing was asked.

    [bold]Examples[/bold]

      distillery synthesize -f belonging --data DATA -o written/ -n 60 --preset gemini-pro --budget 3
      distillery synthesize -f belonging --data DATA -o written/ --kind high --language nl --preset openai
      distillery prepare a.jsonl written/articles.jsonl -l l.jsonl -l written/labels/labels.jsonl -o B --mix 70/30
    """
    with training_extra():
        from distilled_filters.training.synthesize.run import Job, compare, opened
    from distilled_filters.cli.asking import agreed
    from distilled_filters.cli.terminal import write_json
    from distilled_filters.files import write_json as save_json

    writer = oracle.endpoint(model)
    job = Job(
        data=data, output=output, filters=filters, filter=lens, writer=writer, count=count,
        kinds=kind, languages=language, seed=seed, budget_usd=oracle.budget,
    )  # fmt: skip
    with opened(job) as writing, agreed(writing, [writer], oracle.budget, yes=oracle.yes) as progress:
        report = asyncio.run(writing.run(progress))
    if label and report["written"] and not report["stopped"]:
        spent, doubt = report["spending"]["usd"], report["spending"]["in_doubt"]["usd_at_most"]
        left = None if oracle.budget is None else max(0.0, oracle.budget - spent - doubt)
        report["labels"] = _label(job, oracle.endpoint(label_model or model), left, yes=oracle.yes)
        report["targets"] = compare(
            _rows(output / "articles.jsonl"), _rows(output / "labels" / "labels.jsonl"), writing.lens
        )
        report["stopped"] = report["labels"]["stopped"]
        save_json(output / "synthesize.json", report)
    if as_json:
        write_json(report)
    else:
        _show(report, output)
    if report["stopped"]:
        fail(report["stopped"]["message"])
    unlabelled = "targets" in report and report["targets"]["labelled"] < report["written"]
    if report["written"] < report["asked"] or unlabelled:
        raise typer.Exit(FINDINGS)


def _label(job: Job, oracle: Endpoint, budget: float | None, *, yes: bool) -> dict[str, Any]:
    """Have the articles read by an oracle that sees them as it sees all others."""
    from distilled_filters.cli.asking import agreed
    from distilled_filters.cli.terminal import notes
    from distilled_filters.training.oracle.label import Job as LabelJob
    from distilled_filters.training.oracle.label import opened as opened_labels

    task = LabelJob(
        sources=[str(job.output / "articles.jsonl")], output=job.output / "labels", filters=job.filters,
        filter=job.filter, oracles=[oracle], budget_usd=budget,
    )  # fmt: skip
    with opened_labels(task) as labelling, agreed(labelling, [oracle], budget, yes=yes) as progress:
        return asyncio.run(labelling.run(progress, lambda text: notes().print(text, style="dim")))


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _show(report: dict[str, Any], output: Path) -> None:
    from distilled_filters.cli.terminal import grid, plain, screen

    console = screen()
    targets = report.get("targets", {"kinds": {}})
    table = grid("kind", "had", "written", "got what was wished")
    for kind in dict.fromkeys(gap["kind"] for gap in report["gaps"]):
        had = sum(gap["has"] for gap in report["gaps"] if gap["kind"] == kind)
        found = targets["kinds"].get(kind)
        table.add_row(
            plain(kind, "bold"), f"{had:,}", f"{report['by_kind'].get(kind, 0):,}",
            f"{found['as_wished']:.0%} of {found['n']:,}" if found else "-",
        )  # fmt: skip
    console.print(table)
    console.print()
    if languages := ", ".join(f"{name} {count:,}" for name, count in report["by_language"].items()):
        console.print(plain(f"language: {languages}"))
    if targets.get("average_mae") is not None:
        console.print(
            f"weighted averages of labels and targets are {targets['average_mae']:.2f} apart in the mean; "
            "train on the labels",
            soft_wrap=True,
        )
    if report["near_copies"]:
        console.print(f"refused as near copies: {report['near_copies']:,}; see refused.jsonl", style="yellow")
    for reason, count in report["failed"].items():
        console.print(plain(f"not written: {reason}: {count:,}; {report['messages'][reason]}", "red"), soft_wrap=True)
    cost = report["spending"]["usd"] + report.get("labels", {"spending": {"usd": 0.0}})["spending"]["usd"]
    console.print(
        plain(f"{report['written']:,} of {report['asked']:,} written, ${cost:.4f}; wrote {output}", "dim"),
        soft_wrap=True,
    )
