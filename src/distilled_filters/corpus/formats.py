"""How rows are written: JSON lines, CSV or Parquet, in shards that join into one file."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.parquet import ParquetFormat
from distilled_filters.corpus.rows import Row, flat_columns
from distilled_filters.filter import Filter

__all__ = ["FORMATS", "Format", "TextFormat", "choose_format", "csv_table", "json_line"]


class Format(Protocol):
    """Writes rows; the same rows always give the same bytes."""

    suffix: str

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """Write one shard."""

    def join(self, path: Path, shards: Sequence[Path]) -> None:
        """Write the shards into one file."""


class TextFormat:
    """A header, then one text a row; shards come without the header."""

    def __init__(self, suffix: str, header: str, encode: Callable[[Row], str]) -> None:
        """Keep how a row is encoded."""
        self.suffix = suffix
        self.header = header
        self.encode = encode

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """Write one shard."""
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(map(self.encode, rows))

    def join(self, path: Path, shards: Sequence[Path]) -> None:
        """Write the header and the shards into one file."""
        with path.open("wb") as file:
            file.write(self.header.encode())
            for shard in shards:
                with shard.open("rb") as part:
                    shutil.copyfileobj(part, file)


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

    return TextFormat(".csv", encode(columns), encode_row)


FORMATS: dict[str, Callable[[Sequence[Filter]], Format]] = {
    "jsonl": lambda filters: TextFormat(".jsonl", "", json_line),
    "csv": csv_table,
    "parquet": ParquetFormat,
}
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def choose_format(name: str | None, output: Path | None) -> str:
    """Return the key in `FORMATS`: the one named, else by the output's suffix, else JSON lines.

    Raises:
        CorpusError: when the suffix tells none, or Parquet would go to standard output.
    """
    if output is None:
        if name == "parquet":
            raise CorpusError("Parquet cannot be written to standard output; name a file with --output")
        return name or "jsonl"
    chosen = name or _SUFFIXES.get(output.suffix.lower())
    if chosen is None:
        raise CorpusError(
            f"cannot tell the format of {output} from its name; end it in one of {', '.join(_SUFFIXES)}, "
            "or give --format"
        )
    return chosen
