"""The batch protocols of Anthropic and Gemini, as their documents have them, behind the scripted oracle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

from examples.walkthrough.server import Ask, Batches, Body, Fault, ScriptedOracle, write_reply

__all__ = ["KEY", "Anthropic", "Gemini", "Script"]

KEY = "sk-test-of-batches-0123456789"


class Script(Batches):
    """What the two have in common; a batch is done at the `looks`-th look.

    `spoil` says of a request that it ends as `expired`, `errored` or `invalid`; `cut` is how often
    results come with their last one cut off.
    """

    ahead = 0
    """How often results are sent before they are asked for."""

    def __init__(self, oracle: ScriptedOracle) -> None:
        super().__init__(oracle)
        self.spoil: Callable[[Ask], str | None] = lambda ask: "errored" if oracle.fault(ask) is Fault.BROKEN else None
        self.cut = 0
        self.requests: list[Body] = []

    def post(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        if not self._is_let_in(handler):
            return
        asked = json.loads(content)
        requests = self._requests_of(asked)
        if problem := next(filter(None, map(self._problem, requests)), None):
            write_reply(handler, 400, json.dumps({"error": {"message": problem}}).encode())
            return
        self.requests += requests
        name = f"batch_{len(self.made)}"
        self.made[name] = {"asked": asked, "results": [self._result(each) for each in requests], "looks": 0}
        self.on_create()
        write_reply(handler, 200, json.dumps(self._shown(name)).encode())

    def foreign(self, count: int) -> None:
        """Put an ended batch of somebody else's into the account."""
        results = [{"custom_id": f"foreign-{number}", "result": {"type": "expired"}} for number in range(count)]
        self.made[f"batch_{len(self.made)}"] = {"asked": {}, "results": results, "looks": self.looks}

    def _look(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        if name not in self.made:
            write_reply(handler, 404, json.dumps({"error": {"message": "no such batch"}}).encode())
            return
        self.made[name]["looks"] += 1
        write_reply(handler, 200, json.dumps(self._shown(name)).encode())

    def _is_ended(self, name: str) -> bool:
        return bool(self.made[name]["looks"] >= self.looks)

    def _is_let_in(self, handler: BaseHTTPRequestHandler) -> bool:
        if all(handler.headers.get(name) == value for name, value in self._headers().items()):
            return True
        write_reply(handler, 401, json.dumps({"error": {"message": "no such key"}}).encode())
        return False

    def _cut(self, texts: list[str]) -> list[str]:
        """Cut the last of the results off in its middle, while there are cuts left."""
        if not self.cut:
            return texts
        self.cut -= 1
        return [*texts[:-1], texts[-1][: len(texts[-1]) // 2]]

    def _asked(self, key: str, messages: list[dict[str, str]], model: str) -> tuple[Ask, Body | None, str | None]:
        """Answer a request; returns it with the chat completion, or with what spoilt it."""
        ask = Ask(len(self.oracle.asks), key, {"model": model, "messages": messages}, {}, 0)
        self.oracle.asks.append(ask)
        if spoilt := self.spoil(ask):
            return ask, None, spoilt
        return ask, json.loads(self.oracle.paid(ask, self.oracle.fault(ask))), None

    def _headers(self) -> dict[str, str | None]:
        raise NotImplementedError

    def _requests_of(self, asked: Body) -> list[Body]:
        raise NotImplementedError

    def _problem(self, request: Body) -> str | None:
        raise NotImplementedError

    def _result(self, request: Body) -> Body:
        raise NotImplementedError

    def _shown(self, name: str) -> Body:
        raise NotImplementedError


class Anthropic(Script):
    """`/v1/messages/batches`."""

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        if not self._is_let_in(handler):
            return
        path, _, query = handler.path.partition("?")
        parts = path.strip("/").split("/")
        if parts[-1] == "results":
            lines = self._cut([json.dumps(result) for result in self.made[parts[-2]]["results"]])
            write_reply(handler, 200, "\n".join(lines).encode())
        elif parts[-1] == "batches":
            # One a page, newest first, to have pages.
            names = list(reversed(self.made))
            after = query.partition("after_id=")[2].partition("&")[0]
            place = names.index(after) + 1 if after else 0
            page = names[place : place + 1]
            ends = {"first_id": page[0], "last_id": page[-1]} if page else {"first_id": None, "last_id": None}
            data = {"data": [self._shown(name) for name in page], "has_more": place + 1 < len(names), **ends}
            write_reply(handler, 200, json.dumps(data).encode())
        else:
            self._look(handler, parts[-1])

    def _headers(self) -> dict[str, str | None]:
        return {"x-api-key": KEY, "anthropic-version": "2026-10-21", "Authorization": None}

    def _requests_of(self, asked: Body) -> list[Body]:
        requests: list[Body] = asked["requests"]
        return requests

    def _problem(self, request: Body) -> str | None:
        schema = json.dumps(request["params"]["output_config"]["format"]["schema"])
        if '"minimum"' in schema or '"maximum"' in schema:
            return "For 'number' type, properties maximum, minimum are not supported"
        if "temperature" in request["params"]:
            return "temperature: Extra inputs are not permitted"
        return None if len(request["custom_id"]) <= 64 else "custom_id has more than 64 characters"

    def _result(self, request: Body) -> Body:
        params = request["params"]
        ask, reply, spoilt = self._asked(request["custom_id"], params["messages"], params["model"])
        if reply is None:
            kind = "overloaded_error" if spoilt == "errored" else "invalid_request_error"
            error = {"type": "error", "error": {"type": kind, "message": f"{spoilt}, says the server"}}
            result = {"type": "expired"} if spoilt == "expired" else {"type": "errored", "error": error}
            return {"custom_id": ask.key, "result": result}
        choice, usage = reply["choices"][0], reply["usage"]
        reason = "refusal" if choice["message"]["refusal"] else {"length": "max_tokens"}.get(choice["finish_reason"])
        message = {
            "id": f"msg_{ask.number}", "type": "message", "role": "assistant", "model": ask.body["model"],
            "content": [{"type": "thinking", "thinking": "{", "signature": ""},
                        {"type": "text", "text": choice["message"]["content"]}],
            "stop_reason": reason or "end_turn", "stop_sequence": None,
            "usage": {
                "input_tokens": usage["prompt_tokens"] - 30, "cache_read_input_tokens": 20,
                "cache_creation_input_tokens": 10, "output_tokens": usage["completion_tokens"],
                "output_tokens_details": {"thinking_tokens": usage["completion_tokens_details"]["reasoning_tokens"]},
            },
        }  # fmt: skip
        return {"custom_id": ask.key, "result": {"type": "succeeded", "message": message}}

    def _shown(self, name: str) -> Body:
        results, now = self.made[name]["results"], datetime.now(UTC).isoformat().replace("+00:00", "Z")
        ended = self._is_ended(name)
        counts = dict.fromkeys(["processing", "succeeded", "errored", "canceled", "expired"], 0)
        for result in results:
            counts[result["result"]["type"] if ended else "processing"] += 1
        return {
            "id": name, "type": "message_batch", "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts, "created_at": now, "expires_at": now, "ended_at": now if ended else None,
            "cancel_initiated_at": None, "archived_at": None,
            "results_url": f"https://elsewhere.invalid/{name}" if ended else None,
        }  # fmt: skip


class Gemini(Script):
    """`models/MODEL:batchGenerateContent` and `batches` at the address beside `/openai`."""

    ahead = 1
    state = "SUCCEEDED"

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        if not self._is_let_in(handler):
            return
        path, _, query = handler.path.partition("?")
        if path == "/v1beta/batches":
            names = list(self.made)
            place = int(query.partition("pageToken=")[2].partition("&")[0] or 0)
            page = {"operations": [self._shown(name) for name in names[place : place + 1]]}
            more = {"nextPageToken": str(place + 1)} if place + 1 < len(names) else {}
            write_reply(handler, 200, json.dumps({**page, **more}).encode())
        else:
            self._look(handler, path.removeprefix("/v1beta/batches/"))

    def _headers(self) -> dict[str, str | None]:
        return {"x-goog-api-key": KEY, "Authorization": None}

    def _requests_of(self, asked: Body) -> list[Body]:
        requests: list[Body] = asked["batch"]["inputConfig"]["requests"]["requests"]
        return requests

    def _problem(self, request: Body) -> str | None:
        settings = request["request"]["generationConfig"]
        return None if settings["responseJsonSchema"] and settings["maxOutputTokens"] else "no schema"

    def _result(self, request: Body) -> Body:
        roles = {"user": "user", "model": "assistant"}
        messages = [
            {"role": roles[content["role"]], "content": content["parts"][0]["text"]}
            for content in request["request"]["contents"]
        ]
        ask, reply, spoilt = self._asked(request["metadata"]["key"], messages, "gemini")
        if reply is None:
            code = 3 if spoilt == "invalid" else 4 if spoilt == "expired" else 13
            return {"metadata": {"key": ask.key}, "error": {"code": code, "message": f"{spoilt}, says the server"}}
        choice, usage = reply["choices"][0], reply["usage"]
        thinking = usage["completion_tokens_details"]["reasoning_tokens"]
        counts = {
            "promptTokenCount": usage["prompt_tokens"], "candidatesTokenCount": usage["completion_tokens"] - thinking,
            "thoughtsTokenCount": thinking, "cachedContentTokenCount": 20, "totalTokenCount": usage["total_tokens"],
        }  # fmt: skip
        response: Body = {"usageMetadata": counts, "modelVersion": "gemini"}
        if choice["message"]["refusal"]:
            response["promptFeedback"] = {"blockReason": "PROHIBITED_CONTENT"}
        else:
            parts = [{"text": "{", "thought": True}, {"text": choice["message"]["content"]}]
            finish = {"length": "MAX_TOKENS"}.get(choice["finish_reason"], "STOP")
            response["candidates"] = [{"content": {"role": "model", "parts": parts}, "finishReason": finish}]
        return {"metadata": {"key": ask.key}, "response": response}

    def _shown(self, name: str) -> Body:
        batch, ended = self.made[name], self._is_ended(name)
        state, count = self.state if ended else "RUNNING", len(batch["results"])
        counts = {"requestCount": str(count), "pendingRequestCount": "0" if ended else str(count)}
        shown: Body = {
            "name": f"batches/{name}",
            "metadata": {
                "state": f"BATCH_STATE_{state}", "displayName": batch["asked"]["batch"]["displayName"],
                "batchStats": counts,
            },
            "done": ended,
        }  # fmt: skip
        if ended and state == "FAILED":
            shown["error"] = {"code": 13, "message": "the batch fell over"}
        elif ended:
            shown["response"] = {"inlinedResponses": {"inlinedResponses": self._some(batch["results"])}}
            shown["metadata"]["output"] = shown["response"]
        return shown

    def _some(self, results: list[Body]) -> list[Any]:
        """Return results, the last one without what it is the result of, while there are cuts left."""
        return [json.loads(text) if text.endswith("}") else {} for text in self._cut(list(_texts(results)))]


def _texts(results: Iterable[Body]) -> Iterable[str]:
    return (json.dumps(result) for result in results)
