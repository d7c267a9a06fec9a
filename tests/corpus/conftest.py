from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from distilled_filters.corpus.rows import Row, record_title
from distilled_filters.corpus.run import Scorer
from distilled_filters.corpus.sources import Record
from distilled_filters.errors import RecordError
from distilled_filters.filter import Filter

ReaderUnderTest = Callable[[BinaryIO, str], Iterator[tuple[object, int]]]


def records(reader: ReaderUnderTest, content: bytes) -> list[object]:
    """What a reader makes of bytes; unreadable records become `(status, reason)`."""
    return [
        (value.status.value, str(value)) if isinstance(value, RecordError) else value
        for value, _ in reader(io.BytesIO(content), "corpus")
    ]


def lines(first: int, last: int) -> str:
    """JSON lines of records that can be told apart."""
    return "".join(
        json.dumps({"id": number, "title": f"title {number}", "content": ""}) + "\n" for number in range(first, last)
    )


def titles(path: Path) -> list[str]:
    """The titles in a file of JSON lines."""
    return [json.loads(line)["title"] for line in path.read_text(encoding="utf-8").splitlines()]


class CrashError(Exception):
    """Where a run ends in a test."""


def crashing(score: Scorer, after: int) -> Scorer:
    """A scorer that dies after so many rows."""

    def scored(stream: Iterable[Record]) -> Iterator[Row]:
        for count, row in enumerate(score(stream)):
            if count == after:
                raise CrashError
            yield row

    return scored


@pytest.fixture
def no_score(uplifting: Filter) -> Scorer:
    """A scorer that takes no time: every record has no content."""
    refused = uplifting.score("")

    def scored(stream: Iterable[Record]) -> Iterator[Row]:
        for each in stream:
            yield Row(each.row, record_title(each.value), {"uplifting": refused}, each.source, each.index)

    return scored
