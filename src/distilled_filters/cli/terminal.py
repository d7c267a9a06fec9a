"""What commands write on: consoles for people, bytes for programs."""

from __future__ import annotations

import json
import os
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["grid", "notes", "plain", "screen", "shortened", "write_json", "write_text"]

# A pipe has no width; rich's own 80 columns would break a row over lines that grep cannot put together.
_PIPE_WIDTH, _PIPE_HEIGHT = 1000, 25


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the group end the command, as for every other error."""
        raise BrokenPipeError


def screen() -> Console:
    """Return the console of standard output."""
    return _console(sys.stdout.isatty(), stderr=False)


def notes() -> Console:
    """Return the console of standard error."""
    return _console(sys.stderr.isatty(), stderr=True)


def write_text(text: str) -> None:
    """Write to standard output as UTF-8, whatever the locale says, at once."""
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def write_json(value: object) -> None:
    """Write one JSON document to standard output."""
    write_text(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def grid(*headers: str) -> Table:
    """Return a table in the house's style: no lines but one under the header."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def plain(text: str, style: str = "") -> Text:
    """Return foreign text that can neither style nor steer the terminal."""
    return Text("".join(character if character.isprintable() else " " for character in text), style)


def shortened(text: str, length: int) -> str:
    """Return text on one line, cut at `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def _console(terminal: bool, *, stderr: bool) -> Console:
    width = height = None
    if not terminal:
        # With both given rich looks for no terminal, which it would take for 80 columns wide where TERM is dumb.
        columns = os.environ.get("COLUMNS", "")
        width, height = int(columns) if columns.isdigit() else _PIPE_WIDTH, _PIPE_HEIGHT
    return _Console(stderr=stderr, width=width, height=height, highlight=False, markup=False, emoji=False)
