"""Where records come from: the input files of a run, read one after the other as a stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from distilled_filters.corpus.compression import COMPRESSIONS, plain_bytes
from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.parquet import read_parquet
from distilled_filters.corpus.places import Place, place_of
from distilled_filters.corpus.text import read_csv, read_json, read_json_lines

__all__ = [
    "BEGINNING",
    "READABLE_SUFFIXES",
    "STANDARD_INPUT",
    "Problem",
    "Record",
    "Source",
    "Start",
    "find_sources",
    "read_corpus",
]

STANDARD_INPUT = "-"

Reader: TypeAlias = Callable[[BinaryIO, str], Iterator[tuple[object, int]]]

_READERS: dict[str, Reader] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_csv,
    ".parquet": read_parquet,
}
_STREAMED = frozenset({".jsonl", ".ndjson", ".json", ".csv"})
READABLE_SUFFIXES = frozenset(_READERS)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a corpus.

    `row` counts from 0 over all inputs. `value` is what `Filter.score` takes, or a
    `RecordError` where the record could not even be read. `position` is how many bytes
    of all inputs are behind it. `source` is the number of its input, and `index` its own
    number therein, both from 0.
    """

    row: int
    value: object
    position: int
    source: int = 0
    index: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """Where reading begins: at record `index` of input `source`, which is row `row` of all."""

    source: int = 0
    index: int = 0
    row: int = 0


BEGINNING = Start()


@dataclass(frozen=True, slots=True)
class Problem:
    """An input that could not be read to its end, or that held no record."""

    source: int
    message: str
    lost: bool = True
    """False for an empty input."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input of a run."""

    place: Place | None
    """None for standard input."""
    size: int | None
    """Bytes; None for standard input, and where a server does not tell."""
    reader: Reader
    compression: str = ""
    """The suffix that names it, such as `.gz`."""

    @property
    def name(self) -> str:
        """The input as its user wrote it, or as it was found in a folder."""
        return STANDARD_INPUT if self.place is None else self.place.name

    @property
    def stem(self) -> str:
        """Its name without what tells format and compression."""
        return "stdin" if self.place is None else _suffixes(self.place.base)[0]

    def records(self) -> Iterator[tuple[object, int]]:
        """Read the records, each with the bytes read so far.

        Raises:
            CorpusError: when the file is damaged or in another format.
        """
        if self.place is None:
            yield from self.reader(sys.stdin.buffer, self.name)
            return
        with self.place.reading() as file:
            if not self.compression:
                yield from self.reader(file, self.name)
                return
            with plain_bytes(file, self.compression, self.name) as plain:
                for value, _ in self.reader(plain, self.name):
                    yield value, file.tell()


def find_sources(
    names: Sequence[str], note: Callable[[str], None] = lambda text: None, *, output: Place | None = None
) -> list[Source]:
    """Find the files that inputs stand for, and their formats, before any work begins.

    A name is a file, a folder (with its folders), a pattern such as `news/*.jsonl.gz`, or
    a URL of one of these. What a folder or pattern yields is in natural order, and files in no
    known format are left out, which `note` is told, and what lies in or at `output` is too.
    `-` is standard input, one JSON record a line.

    Raises:
        FileNotFoundError: naming the input.
        CorpusError: for an unknown suffix, a folder or pattern without a file to read, or
            an input named twice.
    """
    sources = [source for name in names for source in _find(name, note, output)]
    seen = set()
    for source in sources:
        key = source.name if source.place is None else source.place.path
        if key in seen:
            shown = "standard input (-)" if source.place is None else source.name
            raise CorpusError(f"{shown} stands twice among the inputs; it can be read once")
        seen.add(key)
    return sources


def read_corpus(
    sources: Sequence[Source], start: Start = BEGINNING, tell: Callable[[Problem], None] | None = None
) -> Iterator[Record]:
    """Read the records of all sources in order, lazily; broken ones are records too.

    An input that cannot be read, or not to its end, is told to `tell`, and the others go on.

    Raises:
        CorpusError: without `tell`, when an input cannot be read, such as a Parquet file cut short.
        OSError: the same, and always when a disk or network fails in the middle of an input.
    """
    row = start.row
    behind = sum(source.size or 0 for source in sources[: start.source])
    for number, source in enumerate(sources[start.source :], start.source):
        skip = start.index if number == start.source else 0
        index = 0
        try:
            for value, position in source.records():
                if index >= skip:
                    yield Record(row, value, behind + position, number, index)
                    row += 1
                index += 1
        except (CorpusError, FileNotFoundError, PermissionError) as error:
            if tell is None:
                raise
            tell(Problem(number, f"{error}; {index:,} records of it were read" if index else str(error)))
        else:
            if index == 0 and tell is not None:
                tell(Problem(number, f"{source.name} holds no records", lost=False))
        behind += source.size or 0


def _find(name: str, note: Callable[[str], None], output: Place | None) -> list[Source]:
    if name == STANDARD_INPUT:
        return [Source(None, None, read_json_lines)]
    place = place_of(name)
    if place.is_folder():
        found = place.files()
    elif place.exists():
        return [_source(place)]
    else:
        found = place.matches()
        if not found:
            raise FileNotFoundError(f"there is no file {place.name}")
    if output is not None:
        own = output.path.rstrip("/")
        found = [each for each in found if each.path != own and not each.path.startswith(f"{own}/")]
    readable = [each for each in found if _format(each) is not None]
    if not readable:
        raise CorpusError(f"{name}: there is no file in it that ends in {_known()}")
    if len(readable) < len(found):
        left_out = [each.name for each in found if _format(each) is None]
        note(f"left out {len(left_out)} files in no known format, such as {left_out[0]}")
    return [_source(each) for each in readable]


def _source(place: Place) -> Source:
    form = _format(place)
    if form is None:
        _, suffix, compression = _suffixes(place.base)
        if compression and suffix == ".parquet":
            raise CorpusError(f"{place.name}: Parquet compresses within itself; unpack the {compression} around it")
        raise CorpusError(
            f"{place.name}: cannot tell the format from {suffix + compression or 'a name without suffix'!r}; "
            f"known are {_known()}. One JSON record a line also comes by standard input: -"
        )
    suffix, compression = form
    return Source(place, place.size(), _READERS[suffix], compression)


def _format(place: Place) -> tuple[str, str] | None:
    """Return the suffixes of format and compression, None where they are not known."""
    _, suffix, compression = _suffixes(place.base)
    known = suffix in (_STREAMED if compression else READABLE_SUFFIXES)
    return (suffix, compression) if known else None


def _suffixes(base: str) -> tuple[str, str, str]:
    """Part `a.jsonl.gz` into `a`, `.jsonl` and `.gz`."""
    stem, compression = _part(base)
    if compression not in COMPRESSIONS:
        return stem, compression, ""
    return *_part(stem), compression


def _part(base: str) -> tuple[str, str]:
    stem, dot, suffix = base.rpartition(".")
    return (stem, f".{suffix.lower()}") if dot and stem else (base, "")


def _known() -> str:
    return f"{', '.join(_READERS)}, and text also with {', '.join(COMPRESSIONS)} after it"
