"""Parquet in and out, through pyarrow of the extra `[parquet]`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.rows import Row, flat_columns
from distilled_filters.filter import Filter

__all__ = ["ParquetFormat", "read_parquet"]

# Records held at once while reading.
_BATCH_ROWS = 256


def read_parquet(file: BinaryIO, name: str) -> Iterator[tuple[object, int]]:
    """Read the rows of a Parquet file as records, with the share of the file read so far in bytes.

    Raises:
        CorpusError: when pyarrow is missing, or the file is damaged.
    """
    pyarrow, parquet = _pyarrow(name)
    size = file.seek(0, 2)
    try:
        table = parquet.ParquetFile(file)
        count = 0
        for batch in table.iter_batches(batch_size=_BATCH_ROWS):
            for record in batch.to_pylist():
                count += 1
                yield record, size * count // table.metadata.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"{name} does not read as Parquet: {error}") from error


class ParquetFormat:
    """Scores as one table with a fixed schema; a shard becomes a row group."""

    suffix = ".parquet"

    def __init__(self, filters: Sequence[Filter]) -> None:
        """Fix the schema.

        Raises:
            CorpusError: when pyarrow is missing.
        """
        self._pyarrow, self._parquet = _pyarrow("Parquet")
        types = {int: self._pyarrow.int64(), str: self._pyarrow.string(), float: self._pyarrow.float64()}
        self._schema = self._pyarrow.schema([(column, types[kind]) for column, kind in flat_columns(filters).items()])

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """Write one shard."""
        table = self._pyarrow.Table.from_pylist([row.flat() for row in rows], schema=self._schema)
        self._parquet.write_table(table, path)

    def join(self, path: Path, shards: Sequence[Path]) -> None:
        """Write the shards into one file, holding one of them at a time."""
        with self._parquet.ParquetWriter(path, self._schema) as writer:
            for shard in shards:
                writer.write_table(self._parquet.read_table(shard))


def _pyarrow(what: str) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise CorpusError(f"{what}: Parquet needs pyarrow; pip install 'distilled-filters[parquet]'") from error
    return pyarrow, pyarrow.parquet
