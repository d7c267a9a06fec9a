"""What an error of the provider means: try again, give this question up, or stop the job."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping

import openai

from distilled_filters.training.oracle.errors import AnswerError, OracleError, OracleStoppedError, Problem, Stop
from distilled_filters.training.oracle.providers import Endpoint

__all__ = ["TransientError", "failure_of", "is_transient", "wants_no_schema", "was_never_sent"]

_PAYMENT_REQUIRED = 402
_TRY_AGAIN = frozenset({408, 409, 425, 429})
_SERVER_ERROR = 500
# Codes and words of OpenAI, DeepSeek, Anthropic and OpenRouter for an empty account.
_NO_MONEY_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"})
_NO_MONEY = ("insufficient balance", "credit balance is too low", "exceeded your current quota", "insufficient credits")
_SCHEMA_WORDS = ("response_format", "json_schema", "json_object", "response_schema", "structured output")
_FILTERED = ("content_filter", "content management policy", "content_policy")
_NO_CONNECTION = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
# A provider that asks for a longer pause means its daily limit.
_LONGEST_RETRY_AFTER = 300.0


class TransientError(OracleError):
    """One attempt failed and another may not; `retry_after` is the pause in seconds that the provider asked for."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        """Keep the pause beside the message."""
        super().__init__(message)
        self.retry_after = retry_after


def failure_of(error: openai.OpenAIError, message: str, endpoint: Endpoint) -> OracleError:
    """Return what an error of the client means; `message` is its text without the key."""
    if isinstance(error, openai.APIConnectionError):
        return TransientError(f"{message} ({endpoint.base_url})")
    if not isinstance(error, openai.APIStatusError):
        return AnswerError(Problem.BAD_REQUEST, message)
    status, said = error.status_code, message.lower()
    if status == _PAYMENT_REQUIRED or error.code in _NO_MONEY_CODES or any(words in said for words in _NO_MONEY):
        return OracleStoppedError(
            Stop.BALANCE,
            f"the account at {endpoint.base_url} has no balance left: {message}. "
            "Top it up and run the same command again: it goes on, nothing is asked twice",
        )
    if status in {401, 403}:
        return OracleStoppedError(
            Stop.CREDENTIALS, f"{endpoint.base_url} refuses the key in ORACLE_API_KEY for {endpoint.model}: {message}"
        )
    if status == 404:
        return OracleStoppedError(
            Stop.UNKNOWN_MODEL, f"{endpoint.base_url} has no model {endpoint.model!r}, or no such address: {message}"
        )
    if is_transient(status):
        pause = _retry_after(error.response.headers)
        if pause > _LONGEST_RETRY_AFTER:
            return OracleStoppedError(
                Stop.RATE_LIMIT, f"{message}; it asks to wait {pause / 60:.0f} minutes. Run the same command then"
            )
        return TransientError(message, pause)
    if any(words in said for words in _FILTERED):
        return AnswerError(Problem.REFUSED, message)
    return AnswerError(Problem.BAD_REQUEST, message)


def is_transient(status: int) -> bool:
    """Tell whether an HTTP status says that another attempt may succeed."""
    return status in _TRY_AGAIN or status >= _SERVER_ERROR


def was_never_sent(error: openai.OpenAIError) -> bool:
    """Tell whether there was no connection on which a request could have reached the provider."""
    # By name: the client's HTTP library has changed between its releases.
    return isinstance(error, openai.APIConnectionError) and type(error.__cause__).__name__ in _NO_CONNECTION


def wants_no_schema(error: openai.OpenAIError) -> bool:
    """Tell whether the provider refuses the way in which the answer's form was asked for."""
    return isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError) and any(
        words in str(error).lower() for words in _SCHEMA_WORDS
    )


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the pause in seconds that a provider asks for, as a number or a date; 0 where it asks for none."""
    value = headers.get("retry-after", "")
    try:
        pause = float(value)
    except ValueError:
        try:
            pause = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return pause if pause > 0 else 0.0
