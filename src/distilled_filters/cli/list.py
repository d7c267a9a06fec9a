"""`distillery list`: what is installed, without opening any of it."""

from __future__ import annotations

from dataclasses import asdict

from distilled_filters.cli.options import JsonFlag

__all__ = ["command"]

# On a narrower terminal the lens would be a column of single words; `info` shows it there.
_LENS_FROM_WIDTH = 110


def command(as_json: JsonFlag = False) -> None:
    """List the installed filters, newest version first.

    A broken one is listed with its problem.

    [bold]Examples[/bold]

      distillery list
      distillery list --json | jq -r '.[].name'
    """
    from distilled_filters.cli.terminal import grid, plain, screen, write_json
    from distilled_filters.registry import available

    installed = available()
    if as_json:
        write_json([{**asdict(each), "folder": each.folder and str(each.folder)} for each in installed])
        return
    console = screen()
    with_lens = console.width >= _LENS_FROM_WIDTH
    table = grid("name", "version", "languages", "licence", "distribution", *(["lens"] if with_lens else []))
    for each in installed:
        cells = [each.version, " ".join(each.languages), each.licence, each.distribution]
        if with_lens:
            cells.append(each.lens if each.problem is None else "broken, see below")
        table.add_row(plain(each.name, "bold"), *(plain(cell or "-") for cell in cells))
    console.print(table)
    for each in installed:
        if each.problem:
            console.print(plain(f"broken: {each.name}: {each.problem}", "red"), soft_wrap=True)
    console.print("distillery info NAME says more", style="dim")
