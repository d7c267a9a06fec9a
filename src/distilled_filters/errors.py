"""What can go wrong on the way of an article, as one tree.

DistilledFiltersError
├── SpecError (ValueError)              a filter.toml or backbone.toml that breaks the rules
│   └── IncompatibleEngineError         the filter declares another engine range
├── SettingError (ValueError)           an argument or environment variable out of range
├── MissingExtraError (ImportError)     a library of an optional extra is not installed
├── UnknownFilterError (LookupError)    no such filter, version or checkpoint
├── DuplicateFilterError (ValueError)   two distributions claim one name
├── CheckpointError (OSError)           a checkpoint file that cannot be used
│   ├── MissingFileError (FileNotFoundError)
│   ├── ChecksumError                   the bytes are not those the spec names
│   ├── HubError                        the Hub cannot be reached, refuses, or lacks a file
│   ├── NotEnoughMemoryError (MemoryError)   a language model that would not fit
│   └── HeadNotFoundError               head tensors are missing, extra or misshapen
├── corpus.errors.CorpusError           a file of articles or scores that cannot be used
│   ├── ResumeError                     a run that cannot be begun or taken up
│   └── WorkerError                     processes that score die again and again
├── integrations.http.ServiceError      a service gave no scores; carries the HTTP status
│   ├── ServiceUnreachableError (ConnectionError)
│   ├── ServiceBusyError                no room there, as often as it was tried
│   ├── ServiceTimeoutError (TimeoutError)
│   └── ServiceRefusedError             it would not take the request, or failed on it
├── training.data.DatasetError (ValueError)   a data folder that cannot be used
│   └── SplitLeakError                  copies of one article lie in two splits
├── training.oracle.errors.OracleError  a language model that cannot be asked
│   ├── AnswerError                     one question has no usable answer; carries its Problem
│   └── OracleStoppedError              no question can be asked any more; carries its Stop
└── RecordError (ValueError)            one article that cannot be scored; carries its Status
    └── NonFiniteScoreError (ArithmeticError)   the student answered NaN or infinity
"""

from __future__ import annotations

from distilled_filters.status import Status

__all__ = [
    "CheckpointError",
    "ChecksumError",
    "DistilledFiltersError",
    "DuplicateFilterError",
    "HeadNotFoundError",
    "HubError",
    "IncompatibleEngineError",
    "MissingExtraError",
    "MissingFileError",
    "NonFiniteScoreError",
    "NotEnoughMemoryError",
    "RecordError",
    "SettingError",
    "SpecError",
    "UnknownFilterError",
]


class DistilledFiltersError(Exception):
    """Base of every error this library raises on purpose."""


class SpecError(DistilledFiltersError, ValueError):
    """A filter or backbone spec breaks a rule; the message names file and key."""


class IncompatibleEngineError(SpecError):
    """The installed engine is outside the range a filter declares."""


class SettingError(DistilledFiltersError, ValueError):
    """An argument or an environment variable is out of range."""


class MissingExtraError(DistilledFiltersError, ImportError):
    """A library that comes with an optional extra is not installed; the message has the pip line."""


class UnknownFilterError(DistilledFiltersError, LookupError):
    """No installed filter, version or checkpoint answers to the name."""


class DuplicateFilterError(DistilledFiltersError, ValueError):
    """Two installed distributions claim one filter name."""


class CheckpointError(DistilledFiltersError, OSError):
    """A checkpoint file cannot be used."""


class MissingFileError(CheckpointError, FileNotFoundError):
    """A checkpoint file is neither in the package nor in the cache."""


class ChecksumError(CheckpointError):
    """A checkpoint file's size or SHA-256 differs from the one its spec names."""


class HubError(CheckpointError):
    """The Hugging Face Hub cannot be reached, refuses, or lacks what was asked for; the message has the remedy."""


class NotEnoughMemoryError(CheckpointError, MemoryError):
    """A language model takes more memory than is free."""


class HeadNotFoundError(CheckpointError):
    """The head file lacks tensors, has extra ones, or has the wrong shapes."""


class RecordError(DistilledFiltersError, ValueError):
    """One article cannot be scored; `status` says why."""

    def __init__(self, status: Status, message: str) -> None:
        """Keep the typed status beside the message."""
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type[RecordError], tuple[object, ...]]:
        """Pickle what it was made from, so that it comes back from another process."""
        return type(self), (self.status, str(self))


class NonFiniteScoreError(RecordError, ArithmeticError):
    """The student's output for this article holds NaN or infinity."""

    def __init__(self, message: str) -> None:
        """A non-finite score always has the status `error`."""
        super().__init__(Status.ERROR, message)

    def __reduce__(self) -> tuple[type[RecordError], tuple[object, ...]]:
        """As above, with its one argument."""
        return type(self), (str(self),)
