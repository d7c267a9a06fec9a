"""`distillery score`: a corpus in, a row a record out."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from distilled_filters.cli.errors import FINDINGS
from distilled_filters.cli.options import FilterOptions, open_panel

__all__ = ["OutputFormat", "command"]


class OutputFormat(StrEnum):
    """The values of `--format`: the keys of `corpus.formats.FORMATS`."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def command(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files ending in .jsonl, .ndjson, .json, .csv or .parquet; - for JSON lines on standard input.",
        ),
    ] = None,
    filters: FilterOptions = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file ending in .jsonl, .csv or .parquet.")
    ] = None,
    form: Annotated[
        OutputFormat | None, typer.Option("--format", help="The output's format, where its name does not tell.")
    ] = None,
    json_lines: Annotated[
        bool, typer.Option("--json", help="JSON lines to standard output, even on a terminal.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default=False,
            help="Articles scored at once; by default DISTILLED_FILTERS_THREADS, or the processors at hand.",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Score on this checkpoint of the filters; `distillery info NAME` lists them.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when any record could not be scored.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished run of --output, if there is one.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace --output, and throw an unfinished run of it away.")
    ] = False,
) -> None:
    """Score articles by the installed filters.

    A record needs "content" (or "text", "body"); "title" (or "headline") and
    "id" are welcome. Every record gets a row, in order; one that cannot be
    scored gets a status that says why. On a terminal that is a table, in a
    pipe JSON lines.

    With --output, finished rows are kept in OUTPUT.parts until all are done,
    so that --resume goes on after a crash.

    [bold]Examples[/bold]

      distillery score articles.jsonl
      distillery score articles.csv -f uplifting -f "belonging==1.*"
      cat articles.jsonl | distillery score - | jq .scores.uplifting.tier
      distillery score news-*.parquet -o scores.parquet --resume
    """
    _check(output, form, json_lines, resume, force)
    # Only now: these open the runtimes, and a help page needs none.
    from distilled_filters.cli.score_runs import Run, to_file, to_stream, to_table
    from distilled_filters.corpus.formats import choose_format
    from distilled_filters.corpus.sources import find_sources

    chosen = choose_format(form, output)
    run = Run(find_sources(_inputs(files)), open_panel(filters, threads, checkpoint))
    if output is not None:
        tally = to_file(run, output, chosen, resume=resume, force=force)
    elif sys.stdout.isatty() and form is None and not json_lines:
        tally = to_table(run)
    else:
        tally = to_stream(run, chosen)
    if strict and set(tally) - {"ok"}:
        raise typer.Exit(FINDINGS)


def _check(output: Path | None, form: OutputFormat | None, json_lines: bool, resume: bool, force: bool) -> None:
    """Refuse options that contradict each other."""
    if json_lines and (output or form not in (None, OutputFormat.JSONL)):
        raise typer.BadParameter(
            "it writes JSON lines to standard output; leave out --output and --format", param_hint="--json"
        )
    for name, given in (("--resume", resume), ("--force", force)):
        if given and output is None:
            raise typer.BadParameter("it concerns a file; name it with --output", param_hint=name)
    if resume and force:
        raise typer.BadParameter(
            "--force throws away what --resume would go on with; choose one", param_hint="--resume"
        )


def _inputs(files: list[str] | None) -> list[str]:
    if files:
        return files
    if sys.stdin.isatty():
        raise typer.BadParameter("name at least one file, or - for standard input", param_hint="FILES")
    return ["-"]
