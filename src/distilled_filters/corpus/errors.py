"""What can go wrong with a whole corpus; what is wrong with one record is a `RecordError`."""

from __future__ import annotations

from distilled_filters.errors import DistilledFiltersError

__all__ = ["CorpusError", "ResumeError", "WorkerError"]


class CorpusError(DistilledFiltersError, ValueError):
    """A corpus file cannot be read or written at all."""


class ResumeError(CorpusError):
    """A run cannot begin or go on with what lies at its output."""


class WorkerError(CorpusError):
    """The processes that score die again and again."""
