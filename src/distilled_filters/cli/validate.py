"""`distillery validate`: what does not fit together, installed or in a wheel, and the line that mends it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from distilled_filters.cli.errors import FINDINGS
from distilled_filters.cli.options import JsonFlag

__all__ = ["command"]


def command(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME | WHEEL]...", help="Filters or wheel files; all installed filters by default."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say which filters and wheels do not fit this library, and how to mend it.

    Looks at engine ranges, files, backbones and names, and scores nothing.
    Wheels are looked into without installing them. `verify` checks scores,
    `doctor` this installation. Exits with 1 when something does not fit.

    [bold]Examples[/bold]

      distillery validate
      distillery validate uplifting dist/distilled_filter_sports-1.0.0-py3-none-any.whl
    """
    from distilled_filters.cli.terminal import grid, plain, screen, write_json
    from distilled_filters.cli.validate_checks import verdicts

    found = verdicts(what)
    bad = [each for each in found if each.problem is not None]
    if as_json:
        write_json([asdict(each) for each in found])
    else:
        console = screen()
        table = grid("filter", "version", "from", "")
        for each in found:
            state = plain("fits", "green") if each.problem is None else plain("does not fit", "red")
            table.add_row(plain(each.filter), plain(each.version or "-"), plain(each.origin), state)
        console.print(table)
        for each in found:
            if each.note:
                console.print(plain(f"{each.filter}: {each.note}"), soft_wrap=True)
        for each in bad:
            console.print(plain(f"{each.filter}: {each.problem}", "red"), soft_wrap=True)
            console.print(plain(f"  mend it with: {each.remedy}"), soft_wrap=True)
        console.print(f"{len(found)} looked at, {len(bad) or 'none'} do not fit", style="dim")
    if bad:
        raise typer.Exit(FINDINGS)
