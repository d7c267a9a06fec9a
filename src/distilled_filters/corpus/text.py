"""Readers of the text formats: JSON lines, JSON and CSV.

Each yields `(record, bytes read so far)`. A record that cannot be read is yielded as a
`RecordError`, so that it keeps its place in the order.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import BinaryIO

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.errors import RecordError
from distilled_filters.status import Status

__all__ = ["MAX_DOCUMENT_BYTES", "MAX_LINE_BYTES", "parse_json", "read_csv", "read_json", "read_json_lines"]

# An article is some kilobytes; a line beyond this is a file in the wrong format, and would fill the memory.
MAX_LINE_BYTES = 32 * 2**20
# A JSON array is parsed as a whole, at several times its size in memory.
MAX_DOCUMENT_BYTES = 512 * 2**20

_MEBIBYTE = 2**20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# UTF-32 begins with the marks of UTF-16, or with two zero bytes before one.
_OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_DELIMITERS = ",;\t"


def read_json_lines(file: BinaryIO, name: str) -> Iterator[tuple[object, int]]:
    """Read one JSON record a line; lines of white space only hold none."""
    for number, (line, position) in enumerate(_lines(file, name), start=1):
        place = f"line {number} of {_shown(name)}"
        if line is None:
            yield RecordError(Status.TOO_LONG, f"{place} has more than {MAX_LINE_BYTES // _MEBIBYTE} MiB"), position
        elif line.strip():
            yield parse_json(line, place), position


def read_json(file: BinaryIO, name: str) -> Iterator[tuple[object, int]]:
    """Read a JSON array of records, or a document that is one record.

    Raises:
        CorpusError: when the file is not JSON, or too large to be parsed as a whole.
    """
    document = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(document) > MAX_DOCUMENT_BYTES:
        raise CorpusError(
            f"{name} has more than {MAX_DOCUMENT_BYTES // _MEBIBYTE} MiB; a JSON array is read as a whole. "
            f"Make it one record a line: jq -c '.[]' {name} > records.jsonl"
        )
    parsed = parse_json(_unmarked(document, name), name)
    if isinstance(parsed, RecordError):
        raise CorpusError(f"{parsed}. A file with one record a line must end in .jsonl")
    records = parsed if isinstance(parsed, list) else [parsed]
    for count, record in enumerate(records, start=1):
        yield record, len(document) * count // len(records)


def read_csv(file: BinaryIO, name: str) -> Iterator[tuple[object, int]]:
    """Read CSV with a header line, parted by commas, semicolons or tabs.

    Raises:
        CorpusError: when a field never ends, so that the rows cannot be told apart.
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    position = 0

    def text() -> Iterator[str]:
        nonlocal position
        for line, position in _lines(file, name):  # noqa: B007
            if line is None:
                raise CorpusError(f"{name}: a line has more than {MAX_LINE_BYTES // _MEBIBYTE} MiB; is it CSV?")
            # Bytes that are not UTF-8 stay marked, and fail the record they stand in only.
            yield line.decode("utf-8", "surrogateescape")

    lines = text()
    first = next(lines, "")
    header = next(csv.reader([first], delimiter=(delimiter := max(_DELIMITERS, key=first.count))), [])
    rows = csv.reader(lines, delimiter=delimiter)
    try:
        for row in rows:
            if row:
                yield _csv_record(header, row, f"line {rows.line_num + 1} of {name}"), position
    except csv.Error as error:
        raise CorpusError(
            f"{name}: line {rows.line_num + 1} is not CSV: {error}; is a quotation mark left open?"
        ) from error


def parse_json(text: bytes, place: str) -> object:
    """Return the JSON value, or the `RecordError` that says why there is none."""
    try:
        return json.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        return RecordError(Status.INVALID, f"{place} is not UTF-8: byte {error.start + 1} is {text[error.start]:#04x}")
    except (ValueError, RecursionError) as error:
        return RecordError(Status.INVALID, f"{place} is not JSON: {error}")


def _csv_record(header: list[str], row: list[str], place: str) -> object:
    if len(row) != len(header):
        return RecordError(Status.INVALID, f"{place} has {len(row)} fields, the header {len(header)}")
    try:
        "".join(row).encode("utf-8")
    except UnicodeEncodeError:
        return RecordError(Status.INVALID, f"{place} is not UTF-8")
    return dict(zip(header, row, strict=True))


def _lines(file: BinaryIO, name: str) -> Iterator[tuple[bytes | None, int]]:
    """Yield each line, or None for one beyond the limit, with the bytes read so far."""
    position = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        first, position = position == 0, position + len(line)
        if len(line) <= MAX_LINE_BYTES:
            # Files put together by `cat` have marks in their middle too.
            yield (_unmarked(line, name) if first else line.removeprefix(_BYTE_ORDER_MARK)), position
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(_MEBIBYTE)
            position += len(line)
        yield None, position


def _unmarked(start: bytes, name: str) -> bytes:
    """Take the byte order mark of UTF-8 from the first bytes of a file.

    Raises:
        CorpusError: when another mark says that the whole file is UTF-16 or UTF-32.
    """
    if start.startswith(_OTHER_MARKS):
        raise CorpusError(f"{_shown(name)} is UTF-16 or UTF-32; convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW")
    return start.removeprefix(_BYTE_ORDER_MARK)


def _shown(name: str) -> str:
    return "standard input" if name == "-" else name
