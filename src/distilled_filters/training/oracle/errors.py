"""How asking an oracle can end without an answer: for one question, or for the whole job."""

from __future__ import annotations

from enum import StrEnum

from distilled_filters.errors import DistilledFiltersError

__all__ = ["AnswerError", "OracleError", "OracleStoppedError", "Problem", "Stop"]


class Problem(StrEnum):
    """Why one question has no usable answer."""

    REFUSED = "refused"
    TRUNCATED = "truncated"
    NOT_JSON = "not_json"
    WRONG_SCHEMA = "wrong_schema"
    UNFAITHFUL = "unfaithful"
    """The answer has the right form and does not hold against the article, such as a quote that is not in it."""
    BAD_REQUEST = "bad_request"
    UNREACHABLE = "unreachable"
    """Time-outs, server errors or rate limits until the attempts were used up; the next run asks again."""


class Stop(StrEnum):
    """Why no further question can be asked now."""

    CREDENTIALS = "credentials"
    BALANCE = "balance"
    BUDGET = "budget"
    RATE_LIMIT = "rate_limit"
    UNKNOWN_MODEL = "unknown_model"
    BAD_REQUEST = "bad_request"
    """The provider refuses a batch as a whole."""
    UNREACHABLE = "unreachable"


class OracleError(DistilledFiltersError):
    """Base of what can go wrong with an oracle."""


class AnswerError(OracleError):
    """One question has no usable answer; others may have."""

    def __init__(self, problem: Problem, message: str) -> None:
        """Keep the typed problem beside the message."""
        super().__init__(message)
        self.problem = problem


class OracleStoppedError(OracleError):
    """The job cannot go on; what was paid for is kept, and the same command goes on later."""

    def __init__(self, stop: Stop, message: str) -> None:
        """Keep the typed reason beside the message."""
        super().__init__(message)
        self.stop = stop
