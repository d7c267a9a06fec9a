"""Pages that hold a run's figures: tables in Markdown, written between two marks that name the command."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from distilled_filters.files import write_text

__all__ = ["fill", "show", "table"]

_WIDTH = 160


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; numbers, which is all but the first column, to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def fill(page: Path, name: str, text: str, picture: Path | None = None, caption: str = "") -> None:
    """Replace what stands in a page between `<!-- NAME ... -->` and `<!-- /NAME -->`, the picture first.

    Raises:
        SystemExit: when the page has no such marks.
    """
    if picture:
        text = f"![{caption}]({Path(os.path.relpath(picture, page.parent)).as_posix()})\n\n{text}"
    old = page.read_text("utf-8")
    marks = re.compile(rf"(<!-- {re.escape(name)}\b[^>]*-->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    new, found = marks.subn(lambda match: f"{match[1]}\n{text}\n{match[2]}", old)
    if not found:
        raise SystemExit(f"{page.name} has no marks <!-- {name} --> and <!-- /{name} -->")
    write_text(page, new)


def show(text: str) -> None:
    """Print Markdown, in a pipe as wide as its tables are."""
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(Markdown(text))
