"""`distillery label`: language models judge articles, and what they say becomes labels."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilled_filters.cli.asking import agreed
from distilled_filters.cli.errors import FINDINGS, fail
from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.oracle_options import OracleOptions, asks_a_model
from distilled_filters.cli.training_options import FiltersFolder, training_extra
from distilled_filters.errors import SettingError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["command"]


class Quotes(StrEnum):
    """What becomes of an answer whose quotes are not in the article."""

    STRICT = "strict"
    FLAG = "flag"


@asks_a_model
def command(
    lens: Annotated[str, typer.Option("--filter", "-f", metavar="NAME", help="The filter to label for.")],
    source: Annotated[
        list[str], typer.Option("--source", "-s", help="Articles: JSON lines, JSON, CSV or Parquet; may be repeated.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of labels; a second run goes on in it.")],
    oracle: OracleOptions,
    filters: FiltersFolder = Path("filters"),
    model: Annotated[
        list[str] | None,
        typer.Option(help="The model to ask; may be repeated, and every one reads all.", rich_help_panel="The oracle"),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Readings of every article by every model.")] = 1,
    max_articles: Annotated[int | None, typer.Option(min=1, help="Read only the first so many.")] = None,
    adjudicate: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Let this model decide, blind, where two others disagree.")
    ] = None,
    apart: Annotated[
        float, typer.Option(min=0.0, help="Difference of weighted averages that is a disagreement, beside the tier.")
    ] = 2.0,
    quotes: Annotated[
        Quotes, typer.Option(help="Answers with a quote that is not in the article: spoilt, or kept and flagged.")
    ] = Quotes.STRICT,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again, and pay again, what had no usable answer.")
    ] = False,
    batch: Annotated[
        bool,
        typer.Option("--batch", help="By the provider's batches: in a day, at half the price.", rich_help_panel="Cost"),
    ] = False,
    poll: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks at a batch.", rich_help_panel="Limits")
    ] = 30.0,
    as_json: JsonFlag = False,
) -> None:
    """Let language models score articles through a filter's lens; write labels that `prepare` reads.

    The key is read from the environment variable ORACLE_API_KEY; a server on
    this machine needs none. The same command again goes on after a kill, an
    empty account or a spent budget, and pays no answer twice.

    In the folder: labels.jsonl to train on, failed.jsonl with a reason a row,
    readings.jsonl, label.json with cost and agreement, raw/ with every reply.

    Exits with 0 when every article is labelled, with 1 when some are not, and
    with 2 when the job was stopped or nothing was asked.

    [bold]Examples[/bold]

      distillery label -f uplifting -s articles.jsonl -o labels/ --preset gemini-flash --budget 5
      distillery label -f uplifting -s articles.jsonl -o labels/ --preset ollama --model gemma3:12b --runs 3
      distillery label -f uplifting -s articles.jsonl -o labels/ --preset openai --batch --yes
      distillery label -f uplifting -s articles.jsonl -o labels/ --preset anthropic --adjudicate claude-sonnet-4-6
    """
    with training_extra("oracle"):
        from distilled_filters.training.oracle.label import Job, opened
    from distilled_filters.cli.terminal import notes, write_json

    # With an adjudicator and no model, it decides about the readings that the folder holds.
    names: list[str | None] = list(model or ())
    if not names and not adjudicate:
        names = [None]
    oracles = [oracle.endpoint(name) for name in names]
    if len({each.model for each in oracles}) < len(oracles):
        raise SettingError("a --model stands twice; --runs asks one model several times")
    job = Job(
        sources=source, output=output, filters=filters, filter=lens, oracles=oracles, runs=runs,
        max_articles=max_articles, budget_usd=oracle.budget,
        adjudicator=oracle.endpoint(adjudicate) if adjudicate else None, apart=apart,
        strict_quotes=quotes is Quotes.STRICT, retry_failed=retry_failed, batch=batch, poll=poll,
    )  # fmt: skip
    if adjudicate and oracles:
        _say(notes(), "adjudication of what these models will disagree on comes on top of the estimate")
    with opened(job) as labelling, agreed(labelling, oracles, oracle.budget, yes=oracle.yes) as progress:
        report = asyncio.run(labelling.run(progress, partial(_say, notes())))
    if as_json:
        write_json(report)
    else:
        _show(report, output)
    if report["stopped"]:
        fail(report["stopped"]["message"])
    asked = [*report["oracles"].values(), *filter(None, [report["adjudication"]])]
    if report["refused"] or any(each["failed"] for each in asked):
        raise typer.Exit(FINDINGS)


def _say(console: Console, text: str) -> None:
    from distilled_filters.cli.terminal import plain

    console.print(plain(text, "dim"), soft_wrap=True)


def _show(report: dict[str, Any], output: Path) -> None:
    from distilled_filters.cli.terminal import grid, plain, screen

    console = screen()
    table = grid("oracle", "readings", "in scope", "failed", "calls", "tokens in", "out (thinking)", "cost")
    for model, part in report["oracles"].items():
        spent, tokens = part["spending"], part["spending"]["tokens"]
        table.add_row(
            plain(model, "bold"), f"{part['readings']:,}", f"{part['in_scope']:,}", f"{sum(part['failed'].values()):,}",
            f"{spent['calls']:,}", f"{tokens['prompt']:,}", f"{tokens['output']:,} ({tokens['thinking']:,})",
            f"${spent['usd']:.4f}",
        )  # fmt: skip
    console.print(table)
    for model, part in report["oracles"].items():
        for reason, count in part["failed"].items():
            console.print(plain(f"{model}: {reason}: {count:,}", "red"), soft_wrap=True)
    for reason, count in report["refused"].items():
        console.print(plain(f"not asked: {reason}: {count:,}", "yellow"), soft_wrap=True)
    if report["agreement"]:
        _show_agreement(report["agreement"], console)
    if settled := report["adjudication"]:
        console.print(
            plain(f"{settled['oracle']} adjudicated {report['adjudicated']} of {settled['disagreements']}"),
            soft_wrap=True,
        )
    doubt = report["spending"]["in_doubt"]
    if doubt["calls"]:
        console.print(
            plain(
                f"{doubt['calls']} calls in doubt (killed or timed out), at most ${doubt['usd_at_most']:.4f}: "
                "nothing unless the provider billed them without an answer",
                "yellow",
            ),
            soft_wrap=True,
        )
    now = report["this_run"]
    console.print(
        f"{report['labelled_articles']:,} of {report['articles']:,} articles labelled; "
        f"this run ${now['usd']:.4f} for {now['calls']:,} calls, in all ${report['spending']['usd']:.4f}",
        soft_wrap=True,
    )
    failed = report["refused"] or any(part["failed"] for part in report["oracles"].values())
    why = f"; {output / 'failed.jsonl'} says why of the others" if failed else ""
    console.print(plain(f"wrote {output / 'labels.jsonl'}{why}", "dim"), soft_wrap=True)


def _show_agreement(pairs: list[dict[str, Any]], console: Console) -> None:
    from distilled_filters.cli.terminal import grid, plain

    console.print()
    table = grid("agreement", "pairs", "tier", "scope", "MAE (r) of the weighted average")
    for pair in pairs:
        table.add_row(
            plain(_sides(pair), "bold"), f"{pair['pairs']:,}", f"{pair['tier_agreement']:.3f}",
            f"{pair['scope_agreement']:.3f}", _error(pair["average_mae"], pair["average_correlation"]),
        )  # fmt: skip
    console.print(table)
    console.print()
    table = grid("MAE (r) by dimension", *map(_sides, pairs))
    for name in pairs[0]["dimensions"]:
        found = [pair["dimensions"][name] for pair in pairs]
        table.add_row(plain(name), *(_error(each["mae"], each["correlation"]) for each in found))
    console.print(table)
    console.print()


def _sides(pair: dict[str, Any]) -> str:
    sides = pair["oracles"]
    return " / ".join(sides) if len(sides) > 1 else f"{sides[0]} / itself"


def _error(mae: float, correlation: float | None) -> str:
    return f"{mae:.2f} ({'-' if correlation is None else f'{correlation:.2f}'})"
