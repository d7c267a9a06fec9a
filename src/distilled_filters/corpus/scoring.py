"""From records to rows: every record gets one, in order, the unreadable ones too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from distilled_filters.corpus.rows import Row, record_title
from distilled_filters.corpus.sources import Record
from distilled_filters.errors import RecordError
from distilled_filters.panel import Panel
from distilled_filters.parallel import ordered_map

__all__ = ["score_records"]


def score_records(panel: Panel, records: Iterable[Record]) -> Iterator[Row]:
    """Score a stream of records lazily, in order, holding two a thread.

    Raises:
        CheckpointError: when no filter of the panel opens.
    """
    panel.load()
    return ordered_map(lambda record: _row(panel, record), records, panel.threads)


def _row(panel: Panel, record: Record) -> Row:
    value = record.value
    if isinstance(value, RecordError):
        return Row(record.row, None, {each.name: each.refuse(value, None) for each in panel.filters})
    return Row(record.row, record_title(value), panel.score(value))
