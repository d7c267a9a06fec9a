"""How `distillery explain` shows a score and gives the reason for its tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from distilled_filters import decision
from distilled_filters.cli.score_table import tier_style
from distilled_filters.cli.terminal import grid, plain, shortened
from distilled_filters.corpus.rows import Row
from distilled_filters.filter import Filter
from distilled_filters.preprocess import clean
from distilled_filters.result import Score
from distilled_filters.scorers.base import SCREEN
from distilled_filters.spec import FilterSpec

__all__ = ["show", "why"]

_SCALE = 10.0
_BAR_WIDTH = 20
_TITLE_LENGTH = 120


def show(console: Console, row: Row, filters: Sequence[Filter], value: object) -> None:
    """Print the article's head, what was read of it, and every filter's reasons."""
    opening = value.get("content") if isinstance(value, Mapping) else value
    title = clean(row.title or (opening if isinstance(opening, str) else "")) or "(no title)"
    console.print(plain(shortened(title, min(console.width, _TITLE_LENGTH)), "bold"))
    label = f"id {row.id}, row {row.row}" if row.id else f"row {row.row}"
    console.print(plain(label, "dim"))
    for each in filters:
        console.print()
        _show_score(console, row.scores[each.name], each)


def why(score: Score, spec: FilterSpec) -> str:
    """Return in a sentence why a score has its tier, or why there is none."""
    if score.weighted_average is None or score.dimensions is None:
        return f"{score.status.value}: {score.detail}"
    average = score.weighted_average
    bounds = {tier.name: tier.at_least for tier in spec.tiers}
    names = list(bounds)
    position = names.index(score.tier or names[-1])
    better, worse = names[:position], names[position + 1 :]
    reason = "out of scope by its words alone; " if score.stage == SCREEN else ""
    reason += f"weighted average {average:.2f}"
    reason += f" >= {bounds[names[position]]:.1f}" if worse else ""
    reason += f" < {bounds[better[-1]]:.1f}" if better and not worse else ""
    reason += f", so {names[position]}"
    reason += f"; {bounds[better[-1]] - average:.2f} under {better[-1]}" if better else ""
    if score.gate_applied and spec.gate:
        values = [score.dimensions[name] for name in spec.dimension_names]
        reason += (
            f". The gate holds it at {spec.gate.ceiling:g}: {spec.gate.dimension} is "
            f"{score.dimensions[spec.gate.dimension]:.2f}, under {spec.gate.below:g}; without it "
            f"{decision.weighted_average(values, spec):.2f}"
        )
    return reason


def _show_score(console: Console, score: Score, each: Filter) -> None:
    heading = Text.assemble((f"{each.name} {each.version}", "bold"))
    if score.tier is not None:
        heading.append("  ").append(score.tier, tier_style(score.tier, each.spec.tiers) or "bold")
    console.print(heading)
    console.print(plain(why(score, each.spec)))
    if score.dimensions is not None:
        console.print(_dimensions(score.dimensions, each.spec))
        console.print(plain(_placing(score), "dim"))
        console.print(plain(f"{_gate(score.dimensions, each.spec)}; {_reading(score, each.spec)}", "dim"))


def _dimensions(values: Mapping[str, float], spec: FilterSpec) -> Table:
    table = grid("", "score", "", "weight", "adds")
    table.show_header = True
    for column in (1, 3, 4):
        table.columns[column].justify = "right"
    for dimension in spec.dimensions:
        value = values[dimension.name]
        bar = Bar(_SCALE, 0, value, width=_BAR_WIDTH, color="cyan", bgcolor="bright_black")
        adds = f"{dimension.weight * value:.2f}"
        table.add_row(dimension.name, f"{value:.2f}", bar, f"{dimension.weight:.2f}", adds)
    return table


def _placing(score: Score) -> str:
    parts = []
    if score.percentile is not None:
        parts.append(f"at or above {score.percentile:.0f}% of reference articles")
    if score.interval is not None:
        parts.append(f"interval {score.interval[0]:.2f} to {score.interval[1]:.2f}")
    return "; ".join(parts)


def _gate(values: Mapping[str, float], spec: FilterSpec) -> str:
    gate = spec.gate
    if gate is None:
        return "no gate"
    value = values[gate.dimension]
    if value >= gate.below:
        return f"gate open: {gate.dimension} {value:.2f} is not under {gate.below:g}"
    return (
        f"gate shut: {gate.dimension} {value:.2f} is under {gate.below:g}, so the average is at most {gate.ceiling:g}"
    )


def _reading(score: Score, spec: FilterSpec) -> str:
    tokens = score.tokens
    if tokens is None:
        return "nothing read"
    if not tokens.truncated:
        return f"read all {tokens.total:,} tokens"
    reads = spec.preprocessing
    window = f"the first {reads.head_tokens} and the last {reads.tail_tokens}"
    return f"read {tokens.read:,} of {tokens.total:,} tokens: {window}"
