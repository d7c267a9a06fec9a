"""Gemini's batches: requests travel inside the batch, and replies inside its status.

Its OpenAI-compatible address takes batches of uploaded files only, and uploads only at this one.
Source: https://ai.google.dev/api/batch-api
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from distilled_filters.errors import SettingError
from distilled_filters.training.oracle.batches.provider import Api, Body, Entry, Result, Status, completion, read_lines
from distilled_filters.training.oracle.client import Oracle
from distilled_filters.training.oracle.errors import Problem
from distilled_filters.training.oracle.providers import Structure

__all__ = ["GeminiBatches"]

_FAILED = "FAILED"
_ENDED = frozenset({"SUCCEEDED", _FAILED, "CANCELLED", "EXPIRED"})
_FINISHES = {
    "STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "safety", "PROHIBITED_CONTENT": "prohibited_content",
    "BLOCKLIST": "prohibited_content", "SPII": "prohibited_content", "RECITATION": "content_filter",
}  # fmt: skip
_ROLES = {"user": "user", "assistant": "model"}
# What the OpenAI-compatible address makes of an effort; models from Gemini 3 on take the word itself.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
# HTTP's and gRPC's names of a request that is wrong.
_INVALID = frozenset({400, 3})


class GeminiBatches:
    """Batches of Gemini models."""

    # Google takes 20 MB with requests inside.
    most_requests: ClassVar[int] = 25_000
    most_bytes: ClassVar[int] = 15 * 10**6
    structure: ClassVar[Structure | None] = Structure.SCHEMA

    def __init__(self, oracle: Oracle) -> None:
        """Take the oracle of the OpenAI-compatible address; the other one is its parent."""
        self._model = oracle.endpoint.model.removeprefix("models/")
        root = oracle.endpoint.base_url.rstrip("/").removesuffix("/openai")
        self._api = Api(oracle, root, {"x-goog-api-key": oracle.key})

    def request(self, call: str, body: Body) -> Body:
        """Return a request for contents, with the call as its key.

        Raises:
            SettingError: for a reasoning effort that the model has no budget for.
        """
        settings: Body = {
            "maxOutputTokens": body["max_tokens"],
            "responseMimeType": "application/json",
            "responseJsonSchema": body["response_format"]["json_schema"]["schema"],
        }
        if "temperature" in body:
            settings["temperature"] = body["temperature"]
        if "reasoning_effort" in body:
            settings["thinkingConfig"] = self._thinking(body["reasoning_effort"])
        contents = [
            {"role": _ROLES[message["role"]], "parts": [{"text": message["content"]}]} for message in body["messages"]
        ]
        return {"request": {"contents": contents, "generationConfig": settings}, "metadata": {"key": call}}

    async def submit(self, tag: str, requests: Sequence[Body]) -> str:
        """Make a batch; the tag is its display name."""
        batch = {"displayName": tag, "inputConfig": {"requests": {"requests": list(requests)}}}
        made = await self._api.post(f"/models/{self._model}:batchGenerateContent", {"batch": batch})
        return str(made["name"])

    async def find(self, entry: Entry, known: Collection[str], ended: Callable[[str], Awaitable[object]]) -> str | None:
        """Return the batch with the tag."""
        query = {"pageSize": "100"}
        while True:
            page = await self._api.get("/batches", **query)
            for batch in page.get("operations", ()):
                if batch["metadata"].get("displayName") == entry.tag:
                    return str(batch["name"])
            if not page.get("nextPageToken"):
                return None
            query["pageToken"] = page["nextPageToken"]

    async def look(self, id_: str) -> Status:
        """Say how far a batch is."""
        batch = await self._api.get(f"/{id_}")
        state, counts = batch["metadata"]["state"].rpartition("_")[2], batch["metadata"].get("batchStats") or {}
        # Counts are 64-bit, which JSON of Google's writes as text.
        total, pending = (int(counts.get(name) or 0) for name in ("requestCount", "pendingRequestCount"))
        words = state.lower() + (f", {total - pending:,} of {total:,}" if total else "")
        failure = (batch.get("error") or {}).get("message", "no reason given") if state == _FAILED else ""
        return Status(words, state in _ENDED, failure)

    async def results(self, id_: str) -> list[Result | None]:
        """Read the replies out of the batch."""
        batch = await self._api.get(f"/{id_}")
        output = batch["metadata"].get("output") or batch.get("response") or {}
        replies = (output.get("inlinedResponses") or {}).get("inlinedResponses") or []
        return read_lines("\n".join(map(json.dumps, replies)), _result)

    def _thinking(self, effort: str) -> Body:
        if not self._model.startswith("gemini-2"):
            return {"thinkingLevel": effort}
        if effort not in _BUDGETS:
            raise SettingError(f"--reasoning-effort {effort!r} is none of {', '.join(_BUDGETS)}")
        return {"thinkingBudget": _BUDGETS[effort]}


def _result(reply: Body) -> Result:
    call, response = str(reply["metadata"]["key"]), reply.get("response")
    if response:
        return Result(call, _completion(response))
    error = reply["error"]
    refused = error.get("code") in _INVALID
    return Result(call, None, error.get("message", ""), Problem.BAD_REQUEST if refused else Problem.UNREACHABLE)


def _completion(response: Body) -> Body:
    candidates = response.get("candidates") or [{"finishReason": "PROHIBITED_CONTENT"}]
    parts = (candidates[0].get("content") or {}).get("parts") or []
    text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    finish = _FINISHES.get(candidates[0].get("finishReason", "STOP"), "stop")
    return completion(text, finish, _usage(response.get("usageMetadata")), response)


def _usage(usage: Mapping[str, Any] | None) -> Body | None:
    """Return token counts as OpenAI names them; here the answer's leave thinking out."""
    if usage is None:
        return None
    prompt, thinking = usage.get("promptTokenCount", 0), usage.get("thoughtsTokenCount", 0)
    output = usage.get("candidatesTokenCount", 0) + thinking
    return {
        "prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": usage.get("cachedContentTokenCount", 0)},
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }  # fmt: skip
