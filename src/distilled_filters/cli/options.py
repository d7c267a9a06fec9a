"""Options that several commands share, and the filters they stand for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from distilled_filters.errors import DistilledFiltersError, SpecError

if TYPE_CHECKING:
    from distilled_filters.filter import Filter
    from distilled_filters.panel import Panel

__all__ = ["FilterNames", "FilterOptions", "JsonFlag", "find_filter", "find_filters", "open_panel"]

FilterNames: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        help='Names, requirements such as "uplifting==1.*", or folders with a filter.toml; '
        "all installed ones by default."
    ),
]
FilterOptions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        "-f",
        metavar="FILTER",
        help='A name, a requirement such as "uplifting==1.*", or a folder with a filter.toml; may be repeated. '
        "All installed ones by default.",
    ),
]
JsonFlag: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]


def find_filter(requirement: str) -> Filter:
    """Return the installed filter that a requirement names, or the one in a folder.

    Raises:
        DistilledFiltersError: when it is unknown or broken.
    """
    from distilled_filters.filter import Filter, load

    # Looking at a filter takes no threads, so a wrong setting of theirs must not matter.
    return Filter(requirement, threads=1) if _is_folder(requirement) else load(requirement, threads=1)


def find_filters(names: list[str] | None) -> Iterator[tuple[str, Filter | DistilledFiltersError]]:
    """Yield the filters named, or every installed version; a broken one comes as its error.

    Raises:
        UnknownFilterError: for a name that is not installed.
    """
    from distilled_filters.errors import UnknownFilterError
    from distilled_filters.filter import Filter
    from distilled_filters.registry import available

    for name in names or ():
        try:
            yield name, find_filter(name)
        except UnknownFilterError:
            raise
        except DistilledFiltersError as error:
            yield name, error
    for entry in () if names else available():
        if entry.folder is None or entry.problem is not None:
            yield entry.name, SpecError(entry.problem or "its folder is missing")
            continue
        label = f"{entry.name} {entry.version}"
        try:
            yield label, Filter(entry.folder, threads=1)
        except DistilledFiltersError as error:
            yield label, error


def open_panel(filters: list[str] | None, threads: int | None = None, checkpoint: str | None = None) -> Panel:
    """Return a panel of the filters named, by name or folder, or of all installed ones, on one of their checkpoints.

    Raises:
        DistilledFiltersError: when a filter is unknown, broken or named twice, or the number of threads is none.
    """
    from distilled_filters.filter import Filter
    from distilled_filters.panel import Panel

    named = [Filter(name) if _is_folder(name) else name for name in filters or ()]
    panel = Panel(named, threads=threads) if named else Panel.all(threads=threads)
    if checkpoint is None:
        return panel
    # A filter that was named must have it; of all filters, those are meant that do.
    having = [each for each in panel.filters if checkpoint.replace("-", "_") in each.spec.checkpoints]
    chosen = panel.filters if filters or not having else having
    return Panel([each.with_checkpoint(checkpoint) for each in chosen], threads=threads)


def _is_folder(name: str) -> bool:
    """Say whether a filter is named by its folder, as one is that is not installed; a name has no separators."""
    return any(separator in name for separator in ("/", os.sep)) or (Path(name) / "filter.toml").is_file()
