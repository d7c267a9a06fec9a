"""News filters distilled from large language models: offline, on a CPU, in milliseconds.

    from distilled_filters import uplifting
    uplifting.score({"title": "...", "content": "..."}).tier

Every installed filter is an attribute of this module. Nothing is imported or read
before it is used.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distilled_filters.article import Article as Article
    from distilled_filters.filter import Filter as Filter
    from distilled_filters.filter import load as load
    from distilled_filters.panel import Panel as Panel
    from distilled_filters.registry import Available as Available
    from distilled_filters.registry import available as available
    from distilled_filters.result import Provenance as Provenance
    from distilled_filters.result import Score as Score
    from distilled_filters.result import TokenUse as TokenUse
    from distilled_filters.status import Status as Status

    ai_engineering_practice: Filter
    belonging: Filter
    economic_viability: Filter
    movement_growth: Filter
    nature_recovery: Filter
    policy_effectiveness: Filter
    sustainability_technology: Filter
    uplifting: Filter

__version__ = "0.1.0"

_HOMES = {
    "Article": "article",
    "Available": "registry",
    "Filter": "filter",
    "Panel": "panel",
    "Provenance": "result",
    "Score": "result",
    "Status": "status",
    "TokenUse": "result",
    "available": "registry",
    "load": "filter",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    value: Any
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    elif importlib.util.find_spec(f"{__name__}.{name}"):
        # Python asks here for submodules, too, before it imports them.
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        from distilled_filters.errors import UnknownFilterError
        from distilled_filters.filter import load

        try:
            value = load(name)
        except UnknownFilterError as error:
            raise AttributeError(str(error)) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from distilled_filters.registry import filter_names

    return sorted({*__all__, *filter_names()})
