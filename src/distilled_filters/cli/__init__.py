"""The command line `distillery`: one module a command, each imported only when it is called.

A command module has a function `command`; its docstring and its annotated parameters
are its help page. The table of commands is in `app`.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run `distillery` with the arguments of this process, then exit."""
    from distilled_filters.cli.app import app

    app(prog_name="distillery")
