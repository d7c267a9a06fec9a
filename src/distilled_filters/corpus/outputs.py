"""Where rows go: one file, or a folder with a file for each input or for every so many rows."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.formats import BY_SUFFIX, SUFFIXES, choose_format
from distilled_filters.corpus.places import Place, place_of
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.sources import Source

__all__ = ["Output", "plan_output"]


@dataclass(frozen=True, slots=True)
class Output:
    """What a run writes: `place` itself, or files in the folder `place`."""

    place: Place
    form: str
    """A key of `corpus.formats.FORMATS`."""
    shard_rows: int | None = None
    """Rows a file of the folder."""
    names: tuple[str, ...] = ()
    """Or the names in the folder, one an input."""

    @property
    def is_folder(self) -> bool:
        """Whether the rows go to several files."""
        return bool(self.shard_rows or self.names)

    @property
    def staging(self) -> Place:
        """The folder of an unfinished run."""
        return self.place / "_unfinished" if self.is_folder else self.place.beside(".parts")

    @property
    def record(self) -> Place:
        """The file that says what made the scores, and what they are: it is there when all of them are."""
        return self.place / "_run.json" if self.is_folder else self.place.beside(".run.json")

    @property
    def settings(self) -> dict[str, object]:
        """How rows are put into files, as far as bytes depend on it."""
        return {"shard_rows": self.shard_rows, "shards": list(self.names)}

    def shard_of(self, row: Row) -> str:
        """Return the name of the file in which a row belongs; empty where there is only one."""
        if self.names:
            return self.names[row.source]
        return f"part-{row.row // self.shard_rows:05d}{SUFFIXES[self.form]}" if self.shard_rows else ""

    def shard(self, name: str) -> Place:
        """Return the file that `shard_of` named."""
        return self.place / name if name else self.place


def plan_output(name: str, form: str | None, shard_rows: int | None, sources: Sequence[Source]) -> Output:
    """Decide from an output's name what is written.

    A folder is meant where there is one, where the name ends in `/`, and with `shard_rows`.

    Raises:
        CorpusError: when the format cannot be told, an input would be replaced, there is no
            folder to write to, or two inputs would go to one file.
    """
    place = place_of(name)
    if any(source.place is not None and source.place.path == place.path for source in sources):
        raise CorpusError(f"{name} is an input too; name another output")
    if place.local and not place.parent.is_folder():
        raise CorpusError(f"there is no folder {place.parent.name} to write {place.base} to")
    if not (shard_rows or name.endswith("/") or place.is_folder()):
        return Output(place, choose_format(form, name))
    if place.exists() and not place.is_folder():
        raise CorpusError(f"{name} is a file, and a folder of files was asked for; name another output")
    chosen = form or BY_SUFFIX.get(posixpath.splitext(place.base)[1].lower(), "jsonl")
    if shard_rows:
        return Output(place, chosen, shard_rows)
    return Output(place, chosen, names=_shard_names(sources, SUFFIXES[chosen]))


def _shard_names(sources: Sequence[Source], suffix: str) -> tuple[str, ...]:
    """Name a file for each input as it is named, in folders as it lies in them."""
    folders = [posixpath.dirname(source.place.path) if source.place else "" for source in sources]
    try:
        common = posixpath.commonpath(folders)
    except ValueError:  # they lie in different stores
        common = ""
    taken: dict[str, Source] = {}
    for source, folder in zip(sources, folders, strict=True):
        inner = posixpath.relpath(folder, common) if common else "."
        name = posixpath.normpath(posixpath.join(inner, source.stem + suffix))
        if name in taken:
            raise CorpusError(
                f"{taken[name].name} and {source.name} would both go to {name}; rename one, or give --shard-rows"
            )
        taken[name] = source
    return tuple(taken)
