"""The tables of a scoring run: the scores, an article a row; the statistics, a filter a row."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from distilled_filters.cli.terminal import grid, plain, shortened
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.statistics import Statistics
from distilled_filters.filter import Filter
from distilled_filters.preprocess import clean
from distilled_filters.result import Score
from distilled_filters.spec import Tier
from distilled_filters.status import Status

__all__ = ["score_table", "statistics_table", "tier_style"]

_ID_WIDTH = 14
_LEAST_TITLE = 16
_FILTER_WIDTHS = (5, 14)
_GAP = 1


def score_table(rows: Sequence[Row], filters: Sequence[Filter], width: int) -> Table:
    """Return rows as a table `width` characters wide."""
    longest = max((len(_label(row)) for row in rows), default=0)
    first = min(_ID_WIDTH, max(2, longest))
    columns = _filter_width(filters, width - first - _LEAST_TITLE - 2 * _GAP)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", width=width)
    table.add_column("id", width=first, no_wrap=True, overflow="ellipsis")
    table.add_column("title", ratio=1, no_wrap=True, overflow="ellipsis")
    for each in filters:
        table.add_column(_header(each.name, columns), width=columns, justify="right", no_wrap=True, overflow="ellipsis")
    for row in rows:
        title = shortened(clean(row.title), width) if row.title else ""
        cells = [_cell(row.scores[each.name], each.spec.tiers) for each in filters]
        table.add_row(plain(_label(row), "dim"), plain(title), *cells)
    return table


def statistics_table(statistics: Statistics, filters: Sequence[Filter]) -> Table:
    """Return how many articles each filter put into which tier, and how many it could not score or screened."""
    tiers = list(dict.fromkeys(tier.name for each in filters for tier in each.spec.tiers))
    table = grid("filter", *tiers, "no score", "screened")
    for column in table.columns[1:]:
        column.justify = "right"
    for each in filters:
        counts = statistics.filters[each.name]
        scored = counts.tiers.total()
        cells = [f"{counts.tiers[tier]:,} {_share(counts.tiers[tier], scored)}" for tier in tiers]
        table.add_row(each.name, *cells, f"{statistics.rows - scored:,}", f"{counts.screened:,}")
    return table


def _share(count: int, of: int) -> str:
    return f"({count / of:5.1%})" if of else ""


def tier_style(tier: str | None, tiers: Sequence[Tier]) -> str:
    """Return green for a spec's best tier, nothing for its last, yellow between."""
    names = [each.name for each in tiers]
    if tier == names[-1]:
        return ""
    return "bold green" if tier == names[0] else "yellow"


def _label(row: Row) -> str:
    return row.id or f"#{row.row}"


def _cell(score: Score, tiers: Sequence[Tier]) -> Text:
    if score.status is not Status.OK or score.weighted_average is None:
        return Text(score.status.value, "dim")
    return Text(f"{score.weighted_average:.2f}", tier_style(score.tier, tiers))


def _filter_width(filters: Sequence[Filter], space: int) -> int:
    least, most = _FILTER_WIDTHS
    return max(least, min(most, space // len(filters) - _GAP))


def _header(name: str, width: int) -> Text:
    """Return a filter's name with a word a line, each cut to the column."""
    return Text("\n".join(word[:width] for word in name.split("_")))
