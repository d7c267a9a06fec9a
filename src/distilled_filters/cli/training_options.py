"""Options that the training commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from distilled_filters.errors import DistilledFiltersError

__all__ = ["CacheFolder", "DataFolder", "FiltersFolder", "training_extra"]

DataFolder: TypeAlias = Annotated[
    Path,
    typer.Option("--data", exists=True, file_okay=False, help="Folder with articles.jsonl and labels.jsonl."),
]
FiltersFolder: TypeAlias = Annotated[
    Path,
    typer.Option("--filters", exists=True, file_okay=False, help="Folder of filter folders, one a lens."),
]
CacheFolder: TypeAlias = Annotated[
    Path | None,
    typer.Option("--cache", help="Keeps what models answer; by default under ~/.cache/distilled-filters."),
]

_OF_EXPERTS = ("peft", "gguf", "bitsandbytes")


@contextmanager
def training_extra(extra: str = "train") -> Iterator[None]:
    """Turn a missing library into the pip line that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        wanted = f"{extra},lora" if error.name in _OF_EXPERTS else extra
        raise DistilledFiltersError(
            f"this command needs {error.name}; install it with: pip install 'distilled-filters[{wanted}]'"
        ) from error
