"""How rows are written: JSON lines, CSV or Parquet, in parts that join into one file."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Protocol

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.parquet import ParquetFormat
from distilled_filters.corpus.places import Place
from distilled_filters.corpus.rows import Row, flat_columns
from distilled_filters.filter import Filter

__all__ = ["BY_SUFFIX", "FORMATS", "SUFFIXES", "Format", "TextFormat", "choose_format", "csv_table", "json_line"]


class Format(Protocol):
    """Writes rows; the same rows always give the same bytes."""

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """Write one part."""

    def join(self, path: Path, parts: Sequence[Place]) -> None:
        """Write the parts into one file."""


class TextFormat:
    """A header, then one text a row; parts come without the header."""

    def __init__(self, header: str, encode: Callable[[Row], str]) -> None:
        """Keep how a row is encoded."""
        self.header = header
        self.encode = encode

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """Write one part."""
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(map(self.encode, rows))

    def join(self, path: Path, parts: Sequence[Place]) -> None:
        """Write the header and the parts into one file."""
        with path.open("wb") as file:
            file.write(self.header.encode())
            for part in parts:
                with part.reading() as rows:
                    shutil.copyfileobj(rows, file)


def json_line(row: Row) -> str:
    """Return a row as one line of JSON."""
    return json.dumps(row.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"


def csv_table(filters: Sequence[Filter]) -> TextFormat:
    """Return CSV with a fixed header for these filters."""
    columns = list(flat_columns(filters))

    def encode(cells: Sequence[object]) -> str:
        line = io.StringIO()
        # Before Python 3.13 the writer quotes only those line ends that its own are made of; "\r" ends lines for many.
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        return line.getvalue().removesuffix("\r\n") + "\n"

    def encode_row(row: Row) -> str:
        flat = row.flat()
        return encode([flat.get(column) for column in columns])

    return TextFormat(encode(columns), encode_row)


FORMATS: dict[str, Callable[[Sequence[Filter]], Format]] = {
    "jsonl": lambda filters: TextFormat("", json_line),
    "csv": csv_table,
    "parquet": ParquetFormat,
}
SUFFIXES = {"jsonl": ".jsonl", "csv": ".csv", "parquet": ".parquet"}
"""How files of each format end."""
BY_SUFFIX = {**{suffix: form for form, suffix in SUFFIXES.items()}, ".ndjson": "jsonl"}
"""The format of a file that ends so."""


def choose_format(name: str | None, output: str | None) -> str:
    """Return the key in `FORMATS`: the one named, else by the output's suffix, else JSON lines.

    Raises:
        CorpusError: when the suffix tells none, or Parquet would go to standard output.
    """
    if output is None:
        if name == "parquet":
            raise CorpusError("Parquet cannot be written to standard output; name a file with --output")
        return name or "jsonl"
    chosen = name or BY_SUFFIX.get(PurePath(output).suffix.lower())
    if chosen is None:
        raise CorpusError(
            f"cannot tell the format of {output} from its name; end it in one of {', '.join(BY_SUFFIX)}, "
            "give --format, or end it in / to write a folder of files"
        )
    return chosen
