from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

from distilled_filters.errors import RecordError

ReaderUnderTest = Callable[[BinaryIO, str], Iterator[tuple[object, int]]]


def records(reader: ReaderUnderTest, content: bytes) -> list[object]:
    """What a reader makes of bytes; unreadable records become `(status, reason)`."""
    return [
        (value.status.value, str(value)) if isinstance(value, RecordError) else value
        for value, _ in reader(io.BytesIO(content), "corpus")
    ]
