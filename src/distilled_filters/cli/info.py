"""`distillery info`: a filter's spec in readable form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilled_filters.cli.options import JsonFlag, find_filter
from distilled_filters.spec import CascadeCheckpoint, Checkpoint, EnsembleCheckpoint

if TYPE_CHECKING:
    from rich.console import Console

    from distilled_filters.filter import Filter

__all__ = ["command"]


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="FILTER", help='A name, a requirement such as "uplifting==1.*", or a folder with a filter.toml.'
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Show what a filter asks, weighs and reads, and how well it does.

    [bold]Examples[/bold]

      distillery info uplifting
      distillery info "uplifting==1.*" --json | jq .spec.dimensions
    """
    from distilled_filters.cli.terminal import screen, write_json

    each = find_filter(name)
    metrics = _metrics(each)
    if as_json:
        spec = each.spec.model_dump(mode="json")
        write_json({"folder": str(each.folder), "checkpoint": each.checkpoint, "spec": spec, "metrics": metrics})
    else:
        _show(screen(), each, metrics)


def _show(console: Console, each: Filter, metrics: dict[str, Any] | None) -> None:
    from distilled_filters.cards import gate_rule, tier_rules
    from distilled_filters.cli.terminal import grid, plain

    spec, reads = each.spec, each.spec.preprocessing
    console.print(plain(f"{spec.name} {spec.version}", "bold"))
    console.print(plain(spec.lens))
    dimensions = grid("dimension", "weight", "question (0-10)")
    for dimension in spec.dimensions:
        dimensions.add_row(dimension.name, f"{dimension.weight:.2f}", plain(dimension.question))
    console.print("", dimensions, "", sep="\n")
    facts = grid("", "")
    facts.show_header = False
    for label, text in (
        ("gate", gate_rule(spec)),
        ("tiers", tier_rules(spec)),
        ("reads", f"the first {reads.head_tokens} and last {reads.tail_tokens} tokens of title and body"),
        ("refuses", f"articles under {reads.min_characters:,} or over {reads.max_characters:,} characters"),
        ("languages", " ".join(spec.languages)),
        ("licence", spec.licence),
        ("engine", f"distilled-filters{spec.engine}"),
        ("folder", str(each.folder)),
        ("prompt", f"prompt.md, SHA-256 {spec.prompt_sha256[:12]}"),
    ):
        facts.add_row(plain(label, "dim"), plain(text))
    for name, weights in spec.checkpoints.items():
        home = f", from {weights.hub.repo} at {weights.hub.revision[:12]}" if weights.hub else ""
        used = " (in use)" if name == each.checkpoint else ""
        facts.add_row(plain("checkpoint", "dim"), plain(f"{name}{used}: {weights.kind} {_made_of(weights)}{home}"))
        for ref in weights.files:
            facts.add_row("", plain(f"{ref.path}, {ref.size:,} bytes, SHA-256 {ref.sha256[:12]}"))
    console.print(facts)
    if metrics:
        _show_metrics(console, metrics)


def _made_of(weights: Checkpoint) -> str:
    if isinstance(weights, CascadeCheckpoint):
        return f"from {weights.student} to {weights.expert}"
    if isinstance(weights, EnsembleCheckpoint):
        return f"of {', '.join(weights.members)} ({weights.method})"
    return f"on backbone {weights.backbone}, SHA-256 {weights.backbone_sha256[:12]}"


def _metrics(each: Filter) -> dict[str, Any] | None:
    path = each.folder / "metrics.json"
    if not path.is_file():
        return None
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return metrics


def _show_metrics(console: Console, metrics: dict[str, Any]) -> None:
    from distilled_filters.cards import coverage, figures
    from distilled_filters.cli.terminal import grid, plain

    header, rows = figures(metrics)
    table = grid(*header)
    for label, *cells in rows:
        table.add_row(plain(label), *cells)
    console.print(
        f"\nmeasured on the {metrics.get('split', '?')} split, {metrics.get('n', '?')} articles", style="bold"
    )
    console.print(table)
    if "interval_coverage" in metrics:
        console.print(f"intervals: {coverage(metrics)}")
