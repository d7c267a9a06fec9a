"""The group `distillery`: the table of its commands, and how one is found, imported and run."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import distilled_filters
from distilled_filters.cli.errors import reported_errors

__all__ = ["COMMANDS", "app"]

_SCORE = "Score"
_INSPECT = "Look inside"
_TRAIN = "Make filters"


@dataclass(frozen=True, slots=True)
class _Command:
    """A line of the group's help page; the command itself is `cli/<name>.py`, `-` as `_`."""

    name: str
    panel: str
    summary: str

    @property
    def module(self) -> str:
        return _module(self.name)

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None


COMMANDS = (
    _Command("score", _SCORE, "Score articles from JSON lines, JSON, CSV or Parquet."),
    _Command("serve", _SCORE, "Serve filters over HTTP."),
    _Command("explain", _SCORE, "Say why one article got its tiers."),
    _Command("list", _INSPECT, "List the installed filters."),
    _Command("info", _INSPECT, "Show what a filter asks, weighs and reads."),
    _Command("verify", _INSPECT, "Check files and reference scores of filters."),
    _Command("validate", _INSPECT, "Say which filters and wheels do not fit together."),
    _Command("prefetch", _INSPECT, "Download what filters need to score offline."),
    _Command("doctor", _INSPECT, "Check this installation, and say how to mend it."),
    _Command("new-filter", _TRAIN, "Begin a filter: spec, prompt, checklist."),
    _Command("select", _TRAIN, "Choose the articles that are worth a label."),
    _Command("label", _TRAIN, "Let language models judge articles."),
    _Command("synthesize", _TRAIN, "Fill measured gaps with written articles."),
    _Command("prepare", _TRAIN, "Check labelled articles, find copies, make splits."),
    _Command("readiness", _TRAIN, "Say whether labelled articles are worth training on."),
    _Command("train", _TRAIN, "Train the student on the oracle's labels."),
    _Command("convert", _TRAIN, "Turn a GGUF language model into safetensors."),
    _Command("runs", _TRAIN, "Compare finished training runs."),
    _Command("export", _TRAIN, "Write filter folders from a training run."),
    _Command("calibrate", _TRAIN, "Fit calibration, intervals and percentiles."),
    _Command("cascade", _TRAIN, "Let a student ask an expert where it is unsure."),
    _Command("ensemble", _TRAIN, "Make one score of several checkpoints."),
    _Command("evaluate", _TRAIN, "Measure filters on held-out articles."),
    _Command("judge", _TRAIN, "Let a language model settle where student and oracle differ."),
    _Command("golden", _TRAIN, "Record the scores of the reference articles."),
    _Command("cards", _TRAIN, "Write model cards and the table of filters."),
    _Command("publish", _TRAIN, "Upload a filter to the Hugging Face Hub, and pin it."),
    _Command("package", _TRAIN, "Make a wheel of one filter."),
)


class _LazyGroup(TyperGroup):
    """Knows its commands by name and summary, and imports the one that is called (AC16)."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for each in COMMANDS:
            if each.installed:
                self.add_command(TyperCommand(each.name, help=each.summary, rich_help_panel=each.panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, known, rest = super().resolve_command(ctx, args)
        return name, known and _imported(known.name or ""), rest

    def invoke(self, ctx: Any) -> Any:
        with reported_errors():
            return super().invoke(ctx)


def _module(name: str) -> str:
    return f"{__package__}.{name.replace('-', '_')}"


def _imported(name: str) -> Any:
    module = importlib.import_module(_module(name))
    single = typer.Typer(add_completion=False, rich_markup_mode="rich")
    single.command(name)(module.command)
    return get_command(single)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"distilled-filters {distilled_filters.__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def distillery(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """News filters distilled from large language models: offline, on a CPU, in milliseconds.

    distillery score articles.jsonl                     a table on the terminal
    distillery score articles.jsonl | jq .scores        JSON lines in a pipe
    distillery score big.parquet -o scores.parquet      a file, resumable
    distillery explain articles.jsonl --row 3           why this tier
    """
