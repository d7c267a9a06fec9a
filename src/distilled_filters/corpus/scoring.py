"""From records to rows: every record gets one, in order, the unreadable ones too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from distilled_filters.corpus.rows import Row, record_title
from distilled_filters.corpus.sources import Record
from distilled_filters.errors import RecordError
from distilled_filters.panel import Panel
from distilled_filters.parallel import ordered_map

__all__ = ["score_record", "score_records"]


def score_records(panel: Panel, records: Iterable[Record]) -> Iterator[Row]:
    """Score a stream of records lazily, in order, holding two a thread.

    Raises:
        CheckpointError: when no filter of the panel opens.
    """
    panel.load()
    return ordered_map(lambda record: score_record(panel, record), records, panel.threads)


def score_record(panel: Panel, record: Record) -> Row:
    """Score one record, whatever it is."""
    value = record.value
    if isinstance(value, RecordError):
        title, scores = None, {each.name: each.refuse(value, None) for each in panel.filters}
    else:
        title, scores = record_title(value), panel.score(value)
    return Row(record.row, title, scores, record.source, record.index)
