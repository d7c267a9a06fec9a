"""A spec with the commit its files lie at, and without."""

from __future__ import annotations

from pathlib import Path

import tomlkit

from distilled_filters.spec import HubSource

__all__ = ["pinned", "unpinned"]

_ANYWHERE = HubSource(repo="any/where", revision="0" * 40)


def pinned(path: Path, source: HubSource) -> str:
    """Return the text of a `filter.toml` or `backbone.toml` whose files lie at this commit; the rest stays as it is."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    if "checkpoints" in document:
        inline = tomlkit.inline_table()
        inline.update(source.model_dump())
        for entry in document["checkpoints"].values():
            entry["hub"] = inline
    else:
        table = tomlkit.table()
        table.update(source.model_dump())
        document["hub"] = table
    return tomlkit.dumps(document)


def unpinned(path: Path) -> bytes:
    """Return a spec as it stands in its own repository, where its files lie beside it.

    A spec that was pinned and one that never was come out the same to the byte, so that a second
    upload has nothing to send.
    """
    document = tomlkit.parse(pinned(path, _ANYWHERE))
    for entry in (document, *document.get("checkpoints", {}).values()):
        entry.pop("hub", None)
    return tomlkit.dumps(document).encode()
