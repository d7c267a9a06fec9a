"""`distillery doctor`: what this installation is made of, what is wrong with it, and the remedy."""

from __future__ import annotations

from dataclasses import asdict

import typer

from distilled_filters.cli.errors import FINDINGS
from distilled_filters.cli.options import JsonFlag

__all__ = ["command"]


def command(as_json: JsonFlag = False) -> None:
    """Check this installation, and say how to mend what is broken.

    Shows versions, threads, the Hub's cache, filters and backbones. Exits with
    1 when something is wrong.

    [bold]Examples[/bold]

      distillery doctor
      distillery doctor --json > report.json
    """
    from distilled_filters.cli.doctor_checks import findings
    from distilled_filters.cli.terminal import grid, plain, screen, write_json

    found = findings()
    problems = [each for each in found if each.problem is not None]
    if as_json:
        write_json([asdict(each) for each in found])
    else:
        console = screen()
        for section in dict.fromkeys(each.section for each in found):
            console.print(plain(section, "bold"))
            table = grid("", "", "")
            table.show_header = False
            for each in found:
                if each.section == section:
                    mark = plain("ok", "green") if each.problem is None else plain("!!", "bold red")
                    table.add_row(mark, plain(each.name), plain(each.value))
            console.print(table)
            console.print()
        for each in problems:
            console.print(plain(f"{each.name}: {each.problem}", "red"), soft_wrap=True)
            console.print(plain(f"  remedy: {each.remedy}"), soft_wrap=True)
        if not problems:
            console.print("no problems", style="green")
    if problems:
        raise typer.Exit(FINDINGS)
