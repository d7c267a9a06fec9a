"""Anthropic's Message Batches: requests and results are those of its own Messages API.

Source: https://platform.claude.com/docs/en/api/creating-message-batches
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from distilled_filters.errors import SettingError
from distilled_filters.training.oracle.batches.provider import (
    Api,
    Body,
    Entry,
    Result,
    Status,
    completion,
    fingerprint,
    read_lines,
)
from distilled_filters.training.oracle.client import Oracle
from distilled_filters.training.oracle.errors import Problem
from distilled_filters.training.oracle.failures import TransientError
from distilled_filters.training.oracle.providers import Structure

__all__ = ["AnthropicBatches"]

_PATH = "/messages/batches"
_VERSION = "2026-10-21"
# What a clock here and the provider's may differ by, in seconds.
_CLOCKS = 3600.0
_FINISHES = {"max_tokens": "length", "model_context_window_exceeded": "length", "refusal": "refusal"}
# Of JSON Schema, what its structured output refuses.
_UNKNOWN_TO_SCHEMAS = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"}
)


class AnthropicBatches:
    """Batches of Claude models."""

    # A quarter of the requests, and half of the bytes, that Anthropic takes in one.
    most_requests: ClassVar[int] = 25_000
    most_bytes: ClassVar[int] = 100 * 2**20
    structure: ClassVar[Structure | None] = Structure.SCHEMA

    def __init__(self, oracle: Oracle) -> None:
        """Take the oracle of the address that ends in `/v1/`."""
        self._api = Api(oracle, oracle.endpoint.base_url, {"x-api-key": oracle.key, "anthropic-version": _VERSION})

    def request(self, call: str, body: Body) -> Body:
        """Return a request with the parameters of a message; the answer's form is its `output_config`.

        Raises:
            SettingError: for a temperature, which this version of the protocol has no more.
        """
        if "temperature" in body:
            raise SettingError(
                f"--temperature {body['temperature']:g}: Anthropic's batches take none any more; leave it out"
            )
        output: Body = {"format": {"type": "json_schema", "schema": _schema(_wanted(body))}}
        if "reasoning_effort" in body:
            output["effort"] = body["reasoning_effort"]
        params = {"model": body["model"], "max_tokens": body["max_tokens"], "messages": body["messages"]}
        return {"custom_id": call, "params": {**params, "output_config": output}}

    async def submit(self, tag: str, requests: Sequence[Body]) -> str:
        """Make a batch; there is no place for a tag in it."""
        return str((await self._api.post(_PATH, {"requests": list(requests)}))["id"])

    async def find(self, entry: Entry, known: Collection[str], ended: Callable[[str], Awaitable[object]]) -> str | None:
        """Return the batch made since then with as many requests, and proved by the calls in its results."""
        query = {"limit": "100"}
        while True:
            page = await self._api.get(_PATH, **query)
            for batch in page["data"]:
                if datetime.fromisoformat(batch["created_at"]).timestamp() < entry.at - _CLOCKS:
                    return None
                if batch["id"] in known or sum(batch["request_counts"].values()) != entry.calls:
                    continue
                await ended(batch["id"])
                results = await self.results(batch["id"])
                if None in results:
                    # It may be ours, and a second one would be paid too.
                    raise TransientError(f"results of the batch {batch['id']} cannot be read")
                if entry.tag.startswith(fingerprint(result.call for result in results if result)):
                    return str(batch["id"])
            if not page.get("has_more"):
                return None
            query["after_id"] = page["last_id"]

    async def look(self, id_: str) -> Status:
        """Say how far a batch is."""
        batch = await self._api.get(f"{_PATH}/{id_}")
        state, counts = batch["processing_status"], batch["request_counts"]
        total = sum(counts.values())
        return Status(f"{state}, {total - counts['processing']:,} of {total:,}", state == "ended")

    async def results(self, id_: str) -> list[Result | None]:
        """Read the lines of results."""
        # Not by `results_url`: the key goes to the address that was asked for, and to no other.
        return read_lines(await self._api.text(f"{_PATH}/{id_}/results"), _result)


def _result(line: Body) -> Result:
    call, result = str(line["custom_id"]), line["result"]
    if result["type"] == "succeeded":
        return Result(call, _completion(result["message"]))
    error = result.get("error") or {}
    error = error.get("error") or error
    said = f"{result['type']}: {error.get('message', '')}".rstrip(": ")
    refused = error.get("type") == "invalid_request_error"
    return Result(call, None, said, Problem.BAD_REQUEST if refused else Problem.UNREACHABLE)


def _completion(message: Body) -> Body:
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    return completion(text, _FINISHES.get(message["stop_reason"], "stop"), _usage(message["usage"]), message)


def _usage(usage: Mapping[str, Any]) -> Body:
    """Return token counts as OpenAI names them; here input leaves out what a cache gave or took."""
    cached = usage.get("cache_read_input_tokens") or 0
    prompt = usage["input_tokens"] + cached + (usage.get("cache_creation_input_tokens") or 0)
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    return {
        "prompt_tokens": prompt, "completion_tokens": usage["output_tokens"],
        "total_tokens": prompt + usage["output_tokens"], "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }  # fmt: skip


def _wanted(body: Body) -> Body:
    schema: Body = body["response_format"]["json_schema"]["schema"]
    return schema


def _schema(part: Any) -> Any:
    """Return a schema without the bounds that are refused; the prompt names them, and the answer is checked."""
    if isinstance(part, dict):
        return {key: _schema(value) for key, value in part.items() if key not in _UNKNOWN_TO_SCHEMAS}
    return [_schema(value) for value in part] if isinstance(part, list) else part
