"""Where records come from: the input files of a run, read one after the other as a stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.parquet import read_parquet
from distilled_filters.corpus.text import read_csv, read_json, read_json_lines

__all__ = ["READABLE_SUFFIXES", "STANDARD_INPUT", "Record", "Source", "find_sources", "read_corpus"]

STANDARD_INPUT = "-"

Reader: TypeAlias = Callable[[BinaryIO, str], Iterator[tuple[object, int]]]

_READERS: dict[str, Reader] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_csv,
    ".parquet": read_parquet,
}
READABLE_SUFFIXES = frozenset(_READERS)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a corpus.

    `row` counts from 0 over all inputs. `value` is what `Filter.score` takes, or a
    `RecordError` where the record could not even be read. `position` is how many bytes
    of all inputs are behind it.
    """

    row: int
    value: object
    position: int


@dataclass(frozen=True, slots=True)
class Source:
    """One input of a run."""

    name: str
    size: int | None
    """Bytes; None for standard input."""
    reader: Reader

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the input for reading bytes."""
        if self.name == STANDARD_INPUT:
            yield sys.stdin.buffer
        else:
            with Path(self.name).open("rb") as file:
                yield file


def find_sources(names: Sequence[str]) -> list[Source]:
    """Check that inputs exist and that their formats are known, before any work begins.

    `-` is standard input, one JSON record a line.

    Raises:
        FileNotFoundError: naming the input.
        CorpusError: for a folder, an unknown suffix, or standard input named twice.
    """
    if list(names).count(STANDARD_INPUT) > 1:
        raise CorpusError("standard input (-) stands twice among the inputs; it can be read once")
    return [_find(name) for name in names]


def read_corpus(sources: Sequence[Source]) -> Iterator[Record]:
    """Read the records of all sources in order, lazily; broken ones are records too.

    Raises:
        CorpusError: when a whole file cannot be read, such as a Parquet file cut short.
    """
    row = behind = 0
    for source in sources:
        with source.open() as file:
            for value, position in source.reader(file, source.name):
                yield Record(row, value, behind + position)
                row += 1
        behind += source.size or 0


def _find(name: str) -> Source:
    if name == STANDARD_INPUT:
        return Source(name, None, read_json_lines)
    path = Path(name)
    if path.is_dir():
        raise CorpusError(f"{name} is a folder; name the files in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {name}")
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise CorpusError(
            f"{name}: cannot tell the format from {suffix or 'a name without suffix'!r}; "
            f"known are {', '.join(_READERS)}. One JSON record a line also comes by standard input: -"
        )
    return Source(name, path.stat().st_size, _READERS[suffix])
