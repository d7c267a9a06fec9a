"""`distillery verify`: are the files those the specs name, and do reference scores come out?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from distilled_filters.cli.errors import FINDINGS
from distilled_filters.cli.options import FilterNames, JsonFlag, find_filters
from distilled_filters.errors import DistilledFiltersError

if TYPE_CHECKING:
    from rich.text import Text

    from distilled_filters.cli.checks import Check
    from distilled_filters.filter import Filter

__all__ = ["command"]


def command(filters: FilterNames = None, as_json: JsonFlag = False) -> None:
    """Check that files are whole and that reference scores come out.

    Every file of a filter and of its backbone is compared with the digest in
    the spec, so is the prompt; spec, card, golden articles and metrics are
    compared with what the installed wheel recorded; the golden articles are
    scored. Exits with 1 when anything differs.

    [bold]Examples[/bold]

      distillery verify
      distillery verify uplifting "belonging==1.*"
    """
    from distilled_filters.cli.terminal import grid, plain, screen, write_json

    checks = [check for label, found in find_filters(filters) for check in _checks(label, found)]
    failed = [check for check in checks if check.problem is not None]
    if as_json:
        write_json(
            [{"filter": each.filter, "kind": each.kind, "what": each.what, "problem": each.problem} for each in checks]
        )
    else:
        kinds = ("spec", "files", "prompt", "golden")
        table = grid("filter", *kinds)
        for name in dict.fromkeys(check.filter for check in checks):
            own = [check for check in checks if check.filter == name]
            table.add_row(plain(name), *(_cell([check for check in own if check.kind == kind]) for kind in kinds))
        console = screen()
        console.print(table)
        for check in failed:
            console.print(plain(f"{check.filter}: {check.what}: {check.problem}", "red"), soft_wrap=True)
        console.print(f"{len(checks)} checks, {len(failed) or 'none'} failed", style="dim")
    if failed:
        raise typer.Exit(FINDINGS)


def _cell(checks: Sequence[Check]) -> Text:
    from distilled_filters.cli.terminal import plain

    whole = sum(check.problem is None for check in checks)
    if not checks:
        return plain("-", "dim")
    if whole == len(checks):
        return plain("ok", "green")
    return plain("failed" if len(checks) == 1 else f"{len(checks) - whole} of {len(checks)} failed", "red")


def _checks(label: str, found: Filter | DistilledFiltersError) -> Iterator[Check]:
    """Check one filter; whatever is wrong with it stays its own problem."""
    from distilled_filters.cli.checks import Check, file_checks, golden_check

    if isinstance(found, DistilledFiltersError):
        yield Check(label, "spec", "filter.toml", found)
        return
    yield Check(f"{found.name} {found.version}", "spec", "filter.toml", None)
    yield from file_checks(found)
    yield golden_check(found)
