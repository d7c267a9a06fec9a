"""`distillery golden`: record what the reference articles score."""

from __future__ import annotations

from pathlib import Path

from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.training_options import FiltersFolder

__all__ = ["command"]


def command(filters: FiltersFolder = Path("filters"), as_json: JsonFlag = False) -> None:
    """Write the present scores of every filter's golden articles, and say which of them changed.

    A change calls for a new filter version and a line in filters/CHANGELOG.md.

    [bold]Examples[/bold]

      distillery golden
    """
    from dataclasses import asdict

    from distilled_filters.cli.terminal import grid, plain, screen, write_json
    from distilled_filters.filter import Filter
    from distilled_filters.golden import record_golden
    from distilled_filters.registry import newest_folders

    changes = {each.name: record_golden(each) for each in map(Filter, newest_folders(filters))}
    if as_json:
        write_json({name: [asdict(change) for change in found] for name, found in changes.items()})
        return
    table = grid("article", "field", "was", "is")
    for found in changes.values():
        for change in found:
            table.add_row(*(plain(str(cell)) for cell in (change.article, change.field, change.expected, change.found)))
    if table.row_count:
        screen().print(table)
    count = "1 filter" if len(changes) == 1 else f"{len(changes)} filters"
    screen().print(f"recorded: {count}, {table.row_count} changed scores")
