"""`distillery cards`: the pages that are generated from specs and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distilled_filters.cli.training_options import FiltersFolder

__all__ = ["command"]


def command(
    filters: FiltersFolder = Path("filters"),
    readme: Annotated[Path | None, typer.Option(help="A Markdown file whose table of filters to renew.")] = None,
    schema: Annotated[Path | None, typer.Option(help="Where to write the JSON Schema of filter.toml.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 when a page is stale.")] = False,
) -> None:
    """Write every filter's CARD.md and, where asked, the README's table and the schema of filter.toml.

    [bold]Examples[/bold]

      distillery cards --readme README.md --schema docs/filter.schema.json
      distillery cards --readme README.md --schema docs/filter.schema.json --check
    """
    from distilled_filters.cards import generate, stale
    from distilled_filters.files import write_text
    from distilled_filters.registry import newest_folders

    pages = generate(newest_folders(filters), readme, schema)
    outdated = stale(pages)
    for path in outdated:
        if not check:
            write_text(path, pages[path])
        typer.echo(f"{'stale' if check else 'wrote'}: {path}")
    if check and outdated:
        raise typer.Exit(1)
