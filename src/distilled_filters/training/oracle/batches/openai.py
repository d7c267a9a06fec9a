"""Batches of the OpenAI protocol: a file of requests, `/v1/batches`, and files of results.

Source: https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from http import HTTPStatus
from typing import ClassVar, Literal

from distilled_filters.training.oracle.batches.provider import Body, Entry, Result, Status, read_lines
from distilled_filters.training.oracle.client import Oracle
from distilled_filters.training.oracle.errors import Problem
from distilled_filters.training.oracle.failures import is_transient
from distilled_filters.training.oracle.providers import Structure

__all__ = ["OpenAIBatches"]

_ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_TAG = "distillery"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


class OpenAIBatches:
    """Batches of OpenAI, and of gateways that speak its protocol."""

    # Half of what OpenAI takes in one file.
    most_requests: ClassVar[int] = 25_000
    most_bytes: ClassVar[int] = 100 * 2**20
    structure: ClassVar[Structure | None] = None

    def __init__(self, oracle: Oracle) -> None:
        """Take the oracle whose client speaks this protocol."""
        self._oracle, self._client = oracle, oracle.client

    def request(self, call: str, body: Body) -> Body:
        """Return a line of the file of requests."""
        return {"custom_id": call, "method": "POST", "url": _ENDPOINT, "body": body}

    async def submit(self, tag: str, requests: Sequence[Body]) -> str:
        """Upload the file and make a batch of it; the tag stands in its metadata."""
        content = "".join(json.dumps(request) + "\n" for request in requests).encode()
        file = await self._client.files.create(file=(f"{tag}.jsonl", content), purpose="batch")
        batch = await self._client.batches.create(
            input_file_id=file.id, endpoint=_ENDPOINT, completion_window="24h", metadata={_TAG: tag}
        )
        return batch.id

    async def find(self, entry: Entry, known: Collection[str], ended: Callable[[str], Awaitable[object]]) -> str | None:
        """Return the batch with the tag."""
        async for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get(_TAG) == entry.tag:
                return batch.id
        return None

    async def look(self, id_: str) -> Status:
        """Say how far a batch is."""
        batch = await self._client.batches.retrieve(id_)
        counts = batch.request_counts
        words = batch.status + (f", {counts.completed:,} of {counts.total:,}" if counts else "")
        reasons = [each.message for each in (batch.errors and batch.errors.data) or ()]
        failure = ("; ".join(map(str, reasons)) or "no reason given") if batch.status == "failed" else ""
        return Status(words, batch.status in _ENDED, failure)

    async def results(self, id_: str) -> list[Result | None]:
        """Read the files of results and of errors."""
        batch = await self._client.batches.retrieve(id_)
        found: list[Result | None] = []
        for file in (batch.output_file_id, batch.error_file_id):
            if file is not None:
                text = (await self._client.files.content(file)).text
                found += read_lines(self._oracle.redacted_reply(text), _result)
        return found


def _result(line: Body) -> Result:
    call, response = str(line["custom_id"]), line.get("response") or {}
    status = response.get("status_code")
    if status == HTTPStatus.OK:
        return Result(call, dict(response["body"]))
    refused = isinstance(status, int) and not is_transient(status)
    problem = Problem.BAD_REQUEST if refused else Problem.UNREACHABLE
    return Result(call, None, json.dumps(line.get("error") or response.get("body")), problem, status)
