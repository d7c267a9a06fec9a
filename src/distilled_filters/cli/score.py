"""`distillery score`: a corpus in, a row a record out."""

from __future__ import annotations

import sys
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from distilled_filters.cli.errors import FINDINGS
from distilled_filters.cli.options import FilterOptions, open_panel

if TYPE_CHECKING:
    from distilled_filters.corpus.run import Scorer
    from distilled_filters.panel import Panel

__all__ = ["Engine", "OutputFormat", "command"]


class OutputFormat(StrEnum):
    """The values of `--format`: the keys of `corpus.formats.FORMATS`."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


class Engine(StrEnum):
    """The values of `--engine`."""

    LOCAL = "local"
    RAY = "ray"
    SPARK = "spark"


def command(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files (.jsonl, .ndjson, .json, .csv, .parquet; text also as .gz, .bz2, .xz, .zst), folders, "
            "patterns in quotes, or URLs of these; - for JSON lines on standard input.",
        ),
    ] = None,
    filters: FilterOptions = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="A file ending in .jsonl, .csv or .parquet, or a folder (ending in /) of them; or a URL.",
        ),
    ] = None,
    form: Annotated[
        OutputFormat | None, typer.Option("--format", help="The output's format, where its name does not tell.")
    ] = None,
    shard_rows: Annotated[
        int | None,
        typer.Option(
            min=1, show_default=False, help="Rows a file of an output folder; by default it has a file for each input."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="JSON lines to standard output, even on a terminal; with --output, the run's statistics."
        ),
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
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, show_default=False, help="Processes that score, one article each at a time, in place of threads."
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="Where workers run: on this machine, or on a Ray or Spark cluster.")
    ] = Engine.LOCAL,
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
    scored gets a status that says why. An input that cannot be read is told,
    and the others go on; the command then exits with 1. On a terminal rows are
    a table, in a pipe JSON lines.

    With --output, finished rows are kept in OUTPUT.parts (of a folder, in
    _unfinished) until all are done, so that --resume goes on after a crash.
    OUTPUT.run.json (_run.json) then says what made them, with statistics.

    [bold]Examples[/bold]

      distillery score articles.jsonl
      distillery score articles.csv -f uplifting -f "belonging==1.*"
      cat articles.jsonl | distillery score - | jq .scores.uplifting.tier
      distillery score news-*.parquet -o scores.parquet --resume
      distillery score news/ -o scores/ --format parquet --workers 8
      distillery score "s3://bucket/news/*.jsonl.gz" -o s3://bucket/scores/ --shard-rows 100000
    """
    needs_output = "it concerns files; name them with --output"
    for wrong, option, why in (
        (resume and output is None, "--resume", needs_output),
        (force and output is None, "--force", needs_output),
        (shard_rows and output is None, "--shard-rows", needs_output),
        (resume and force, "--resume", "--force throws away what --resume would go on with; choose one"),
        (
            as_json and output is None and form not in (None, OutputFormat.JSONL),
            "--json",
            "it writes JSON lines to standard output; leave out --format",
        ),
        (
            threads and (workers or engine is not Engine.LOCAL),
            "--threads",
            "workers have one thread each",
        ),
    ):
        if wrong:
            raise typer.BadParameter(why, param_hint=option)
    # Only now: these open the runtimes, and a help page needs none.
    from distilled_filters.cli.score_runs import show_warning, to_output, to_stream, to_table
    from distilled_filters.corpus.formats import choose_format
    from distilled_filters.corpus.outputs import plan_output
    from distilled_filters.corpus.places import place_of
    from distilled_filters.corpus.run import Run
    from distilled_filters.corpus.sources import find_sources

    sources = find_sources(_inputs(files), show_warning, output=place_of(output) if output else None)
    target = None if output is None else plan_output(output, form, shard_rows, sources)
    stream_form = choose_format(form, None) if target is None else target.form
    panel = open_panel(filters, threads, checkpoint)
    run = Run(sources, panel.filters, _scorer(panel, engine, workers))
    if target is not None:
        outcome = to_output(run, target, resume=resume, force=force, as_json=as_json)
    elif sys.stdout.isatty() and form is None and not as_json:
        outcome = to_table(run)
    else:
        outcome = to_stream(run, stream_form)
    if outcome.unread or (strict and set(outcome.statistics.statuses) - {"ok"}):
        raise typer.Exit(FINDINGS)


def _scorer(panel: Panel, engine: Engine, workers: int | None) -> Scorer:
    """Return what makes rows of records, by threads, processes or an engine."""
    if engine is not Engine.LOCAL:
        from distilled_filters.corpus.engines import score_on

        return partial(score_on, engine.value, panel, workers=workers)
    if workers:
        from distilled_filters.corpus.workers import score_in_processes

        return partial(score_in_processes, panel, workers=workers)
    from distilled_filters.corpus.scoring import score_records

    return partial(score_records, panel)


def _inputs(files: list[str] | None) -> list[str]:
    if files:
        return files
    if sys.stdin.isatty():
        raise typer.BadParameter("name at least one file, or - for standard input", param_hint="FILES")
    return ["-"]
