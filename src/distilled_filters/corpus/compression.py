"""Compressed inputs: a stream of plain bytes over a file that ends in .gz, .bz2, .xz or .zst."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from distilled_filters.corpus.errors import CorpusError

__all__ = ["COMPRESSIONS", "plain_bytes"]


def _open_zstd(file: BinaryIO) -> Any:
    try:
        from backports import zstd
    except ImportError as error:
        raise CorpusError(".zst needs backports.zstd; pip install 'distilled-filters[zstd]'") from error
    return zstd.open(file)


COMPRESSIONS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zstd,
}


@contextmanager
def plain_bytes(file: BinaryIO, compression: str, name: str) -> Iterator[BinaryIO]:
    """Open the plain bytes of a compressed file.

    Raises:
        CorpusError: when the file is damaged, also later, while it is read.
    """
    try:
        with COMPRESSIONS[compression](file) as plain:
            yield plain
    except CorpusError:
        raise
    except Exception as error:
        if _is_damage(error):
            raise CorpusError(f"{name} is damaged: {error}") from error
        raise


def _is_damage(error: Exception) -> bool:
    """Whether the bytes are wrong, as against a disk or network that fails; gzip and bz2 raise OSError for both."""
    if isinstance(error, OSError):
        return error.errno is None
    return isinstance(error, EOFError | zlib.error | lzma.LZMAError) or type(error).__name__ == "ZstdError"
