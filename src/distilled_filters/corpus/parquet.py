"""Parquet in and out, through pyarrow of the extra `[parquet]`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from distilled_filters.article import ARTICLE_KEYS
from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.places import Place
from distilled_filters.corpus.rows import Row, flat_columns
from distilled_filters.filter import Filter

__all__ = ["ParquetFormat", "read_parquet"]

# Records held at once while reading.
_BATCH_ROWS = 256
# Rows of scores that readers will meet as one group; some megabytes.
_GROUP_ROWS = 20_000


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
        # Embeddings and the like may stand beside the article; without any column of one, all tell what is there.
        wanted = [column for column in table.schema_arrow.names if column in ARTICLE_KEYS] or None
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
            for record in batch.to_pylist():
                count += 1
                yield record, size * count // table.metadata.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"{name} does not read as Parquet: {error}") from error


class ParquetFormat:
    """Scores as one table with a fixed schema."""

    def __init__(self, filters: Sequence[Filter]) -> None:
        """Fix the schema.

        Raises:
            CorpusError: when pyarrow is missing.
        """
        self._pyarrow, self._parquet = _pyarrow("Parquet")
        types = {int: self._pyarrow.int64(), str: self._pyarrow.string(), float: self._pyarrow.float64()}
        self._schema = self._pyarrow.schema([(column, types[kind]) for column, kind in flat_columns(filters).items()])

    def write(self, path: Path, rows: Sequence[Row]) -> None:
        """Write one part."""
        table = self._pyarrow.Table.from_pylist([row.flat() for row in rows], schema=self._schema)
        self._parquet.write_table(table, path)

    def join(self, path: Path, parts: Sequence[Place]) -> None:
        """Write the parts into one file, with many of them to a row group."""
        with self._parquet.ParquetWriter(path, self._schema) as writer:
            group: list[Any] = []
            for part in parts:
                with part.reading() as rows:
                    group.append(self._parquet.read_table(rows))
                if sum(table.num_rows for table in group) >= _GROUP_ROWS:
                    writer.write_table(self._pyarrow.concat_tables(group))
                    group = []
            if group:
                writer.write_table(self._pyarrow.concat_tables(group))


def _pyarrow(what: str) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise CorpusError(f"{what}: Parquet needs pyarrow; pip install 'distilled-filters[parquet]'") from error
    return pyarrow, pyarrow.parquet
