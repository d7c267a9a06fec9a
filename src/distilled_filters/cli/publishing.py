"""What `publish` and `package` share: the filter folder that they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from distilled_filters.errors import SettingError

__all__ = ["FilterFolder", "FiltersHome", "find_folder"]

FilterFolder: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="FILTER", help='A folder such as filters/uplifting/v1, "uplifting/v1" for short, or a name.'
    ),
]
FiltersHome: TypeAlias = Annotated[Path, typer.Option("--filters", help="Where FILTER is looked for.")]


def find_folder(text: str, filters: Path) -> Path:
    """Return the version folder that an author means: a path, a part of one under `filters`, or a filter's name there.

    Raises:
        SettingError: when there is none.
    """
    from distilled_filters.registry import newest_folders

    for folder in (Path(text), filters / text):
        if (folder / "filter.toml").is_file():
            return folder
    newest = {folder.parent.name: folder for folder in newest_folders(filters)} if filters.is_dir() else {}
    if text in newest:
        return newest[text]
    known = f"; {filters} has {', '.join(newest)}" if newest else f"; {filters} is no folder of filters"
    raise SettingError(f"no filter.toml in {text!r} or in {str(filters / text)!r}{known}")
