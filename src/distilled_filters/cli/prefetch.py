"""`distillery prefetch`: the one command that downloads, so that scoring never does (AC3)."""

from __future__ import annotations

import typer

from distilled_filters.cli.errors import FINDINGS
from distilled_filters.cli.options import FilterNames, JsonFlag, find_filters
from distilled_filters.errors import DistilledFiltersError

__all__ = ["command"]


def command(filters: FilterNames = None, as_json: JsonFlag = False) -> None:
    """Download what filters need, so that they score offline.

    Filters that come with their files need nothing. Every file is checked
    against the digest in its spec. Exits with 1 when a download fails.

    [bold]Examples[/bold]

      distillery prefetch
      distillery prefetch "uplifting==1.*"
    """
    from distilled_filters.cli.terminal import plain, screen, write_json

    outcomes: list[dict[str, object]] = []
    console = screen()
    for label, found in find_filters(filters):
        outcome: dict[str, object] = {"filter": label, "files": [], "problem": None}
        outcomes.append(outcome)
        try:
            if isinstance(found, DistilledFiltersError):
                raise found
            outcome["filter"] = label = f"{found.name} {found.version}"
            paths = found.prefetch()
        except DistilledFiltersError as error:
            outcome["problem"] = str(error)
            line = plain(f"{label}: {error}", "red")
        else:
            outcome["files"] = [str(path) for path in paths]
            size = sum(path.stat().st_size for path in paths)
            brought = f"{len(paths)} files in the cache, {size / 1e6:.1f} MB" if paths else "comes with its files"
            line = plain(f"{label}: {brought}")
        if not as_json:
            console.print(line, soft_wrap=True)
    nothing = not any(outcome["files"] or outcome["problem"] for outcome in outcomes)
    if as_json:
        write_json(outcomes)
    elif nothing:
        console.print("nothing to fetch", style="dim")
    if any(outcome["problem"] for outcome in outcomes):
        raise typer.Exit(FINDINGS)
