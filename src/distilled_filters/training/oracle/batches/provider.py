"""What the loop over batches needs of a provider, and what comes back from every one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import openai
from openai import RequestOptions

from distilled_filters.training.oracle.client import Oracle
from distilled_filters.training.oracle.errors import Problem
from distilled_filters.training.oracle.failures import TransientError
from distilled_filters.training.oracle.providers import Structure

__all__ = ["Api", "Body", "Entry", "Provider", "Result", "Status", "completion", "fingerprint", "read_lines"]

Body = dict[str, Any]
"""A JSON object on its way to or from a provider."""


@dataclass
class Entry:
    """A batch as it is written down, before it is made.

    Attributes:
        tag: The fingerprint of its calls, and a number.
        model: The model that is asked.
        calls: How many requests it has.
        at: When it was made, in seconds since the epoch.
        usd_at_most: The most that one of its requests can cost.
        id: The provider's name for it; None until the provider has told it.
        collected: Whether its results are in the journal.
    """

    tag: str
    model: str
    calls: int
    at: float = 0.0
    usd_at_most: float = 0.0
    id: str | None = None
    collected: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """How far a batch is, in the provider's words; `failure` says why it failed as a whole."""

    words: str
    ended: bool
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one request: a reply in the form of a chat completion, or why there is none."""

    call: str
    reply: Body | None = None
    said: str = ""
    problem: Problem = Problem.UNREACHABLE
    """`bad_request` where asking again is of no use."""
    status: int | None = None


class Provider(Protocol):
    """A provider's batches. Methods raise `openai.OpenAIError` and `TransientError` only."""

    most_requests: ClassVar[int]
    most_bytes: ClassVar[int]
    structure: ClassVar[Structure | None]
    """How an answer's form is told; None leaves it to the endpoint."""

    def __init__(self, oracle: Oracle) -> None: ...

    def request(self, call: str, body: Body) -> Body:
        """Return a request as it stands in a batch, made from the body of a chat completion's."""

    async def submit(self, tag: str, requests: Sequence[Body]) -> str:
        """Make a batch; returns the provider's name for it."""

    async def find(self, entry: Entry, known: Collection[str], ended: Callable[[str], Awaitable[object]]) -> str | None:
        """Return the name of a batch that was made before a kill; None where there is none.

        `known` are batches that are others for sure; `ended` waits for the end of one.
        """

    async def look(self, id_: str) -> Status:
        """Say how far a batch is."""

    async def results(self, id_: str) -> list[Result | None]:
        """Return what came of an ended batch; None for what cannot be read."""


class Api:
    """JSON to and from a provider's own addresses, over the connection that the oracle has open.

    The OpenAI client carries any REST request: time-outs, proxies, errors and the hiding of the
    key are those of single calls. `headers` bring the key in the provider's way.
    """

    def __init__(self, oracle: Oracle, root: str, headers: Mapping[str, str]) -> None:
        """Name the address that paths are added to."""
        self._oracle, self._root = oracle, root.rstrip("/")
        # A redirect to another address would take the key along: only `Authorization` is left out there.
        self._options: RequestOptions = {
            "headers": {"Authorization": openai.Omit(), **headers}, "follow_redirects": False,
        }  # fmt: skip

    async def get(self, path: str, **query: str) -> Body:
        """Return the JSON object at a path."""
        return _object(await self.text(path, **query))

    async def text(self, path: str, **query: str) -> str:
        """Return the text at a path, without the key."""
        text = await self._oracle.client.get(self._root + path, cast_to=str, options={**self._options, "params": query})
        return self._oracle.redacted_reply(text)

    async def post(self, path: str, body: Body) -> Body:
        """Send a JSON object; returns the one that comes back."""
        text = await self._oracle.client.post(self._root + path, cast_to=str, body=body, options=self._options)
        return _object(self._oracle.redacted_reply(text))


def fingerprint(calls: Iterable[str]) -> str:
    """Return what tells batches of different calls apart."""
    return hashlib.sha256(" ".join(sorted(calls)).encode()).hexdigest()[:16]


def read_lines(text: str, read: Callable[[Body], Result]) -> list[Result | None]:
    """Read JSON lines of results; None for a line that is none, such as one cut off on the way."""
    # Not splitlines, which also splits at separators that JSON strings may hold.
    return [_read(line, read) for line in text.split("\n") if line.strip()]


def completion(text: str, finish: str, usage: Body | None, reply: Body) -> Body:
    """Return a provider's own reply in the form of a chat completion, and as it came beside it."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    counted = {} if usage is None else {"usage": usage}
    return {"object": "chat.completion", "choices": [choice], **counted, "provider_reply": reply}


def _read(line: str, read: Callable[[Body], Result]) -> Result | None:
    try:
        return read(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _object(text: str) -> Body:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise TransientError(f"the server's reply is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise TransientError(f"the server's reply is {type(document).__name__}, not an object")
    return document
