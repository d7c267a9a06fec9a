"""What an author decides about a new filter, checked by the rules of the spec while it is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distilled_filters.registry import embedded_folder, newest_folders
from distilled_filters.spec import Dimension, Gate, LensSpec, problems_of, read_lens_spec

__all__ = ["Draft", "LookAlike", "draft_problem", "pattern_lens"]


@dataclass(frozen=True, slots=True)
class LookAlike:
    """A kind of article that resembles the lens, and the most its weighted average may be."""

    what: str
    cap: float


_LOOK_ALIKES = (
    LookAlike("announcements, plans and promises with nothing done yet", 3.0),
    LookAlike("advertising and praise of oneself", 2.0),
    LookAlike("opinion and advice without a case", 2.0),
)


@dataclass(frozen=True)
class Draft:
    """A filter to be: the author's part of the spec, and what its prompt says beside that.

    `checkpoint` is what its default checkpoint is to be called; by default as in the other filters.
    """

    name: str
    lens: str
    dimensions: Sequence[Dimension]
    gate: Gate | None = None
    languages: Sequence[str] = ("en", "nl", "es", "pt", "de", "fr", "it")
    licence: str = "Apache-2.0"
    in_scope: str = "Articles whose main matter is what the lens asks for, with something already done or shown."
    out_of_scope: str = (
        "Articles that only mention it; share prices, product offers, celebrity, sport results, weather, and opinion "
        "with no case."
    )
    look_alikes: Sequence[LookAlike] = _LOOK_ALIKES
    checkpoint: str | None = None


def pattern_lens(filters: Path) -> LensSpec:
    """Return the lens whose tiers, preprocessing and engine range a new one takes over.

    Filters that share an encoder must read articles alike, so it is one of the folder's own
    where there is one, else one that comes with this package.
    """
    own = newest_folders(filters) if filters.is_dir() else []
    return read_lens_spec((own or newest_folders(embedded_folder()))[0] / "filter.toml")


def draft_problem(pattern: LensSpec, **decided: Any) -> str | None:
    """Say what breaks a rule among the fields of the spec decided so far; None where nothing does."""
    fields = {name: getattr(pattern, name) for name in LensSpec.model_fields}
    # The pattern's gate belongs to its own dimensions.
    fields = {**fields, "gate": None, **decided}
    try:
        LensSpec.model_validate(fields)
    except ValidationError as error:
        return problems_of(error)
    return None
