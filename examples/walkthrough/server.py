"""A scripted oracle over real HTTP: it answers, misbehaves as it is told to, and keeps its own accounts.

It honours `Idempotency-Key` as Stripe does for what succeeded: a key that has been answered is answered
again with the same bytes and not billed again.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Body = dict[str, Any]
PRICES = (2.0, 10.0)
"""US dollars a million tokens, in and out."""


class Fault(StrEnum):
    RATE_LIMIT = "429"
    BROKEN = "500"
    SLOW = "slow"
    DROPPED = "dropped"
    TRUNCATED = "truncated"
    REFUSAL = "refusal"
    WRONG_SCHEMA = "wrong_schema"
    WORDS = "words"
    NO_MONEY = "402"
    NO_QUOTA = "quota"
    BAD_KEY = "401"
    NO_MODEL = "404"
    NO_SCHEMA = "no_schema"
    GATEWAY = "gateway"
    HTML = "html"


_ERRORS: dict[Fault, tuple[int, Body]] = {
    Fault.RATE_LIMIT: (429, {"message": "slow down", "code": "rate_limit_exceeded"}),
    Fault.BROKEN: (500, {"message": "boom"}),
    Fault.NO_MONEY: (402, {"message": "Insufficient Balance"}),
    Fault.NO_QUOTA: (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}),
    Fault.BAD_KEY: (401, {"message": "Incorrect API key provided: {key}"}),
    Fault.NO_MODEL: (404, {"message": "no such model"}),
    Fault.NO_SCHEMA: (400, {"message": "response_format of type json_schema is not supported"}),
}


@dataclass
class Account:
    """What the server says it is owed, by its own count."""

    calls: int = 0
    prompt: int = 0
    output: int = 0
    thinking: int = 0

    @property
    def usd(self) -> float:
        return (self.prompt * PRICES[0] + self.output * PRICES[1]) / 1e6


@dataclass
class Ask:
    """One request as it came in."""

    number: int
    key: str
    body: Body
    headers: dict[str, str]
    seen: int
    """How often this key came before."""
    at: float = field(default_factory=time.monotonic)

    @property
    def text(self) -> str:
        return "\n".join(message["content"] for message in self.body["messages"])


class ScriptedOracle:
    """`answer` makes the JSON of a good answer; `fault` says what goes wrong with a request, or None."""

    def __init__(
        self,
        answer: Callable[[Ask], Mapping[str, Any]],
        fault: Callable[[Ask], Fault | None] = lambda ask: None,
        *,
        seconds: float = 0.0,
        slow: float = 5.0,
        retry_after: str = "0",
        port: int = 0,
    ) -> None:
        self.answer, self.fault, self.seconds, self.slow, self.retry_after = answer, fault, seconds, slow, retry_after
        self.account = Account()
        self.batches = Batches(self)
        self.asks: list[Ask] = []
        self.under_way = self.most_under_way = 0
        self._answered: dict[str, bytes] = {}
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        oracle = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    if self.path.endswith("/chat/completions"):
                        oracle._serve(self, json.loads(content))
                    else:
                        oracle.batches.post(self, content)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def do_GET(self) -> None:
                oracle.batches.get(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                """A client that was killed is no news here."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler, body: Body) -> None:
        key = handler.headers.get("Idempotency-Key", "")
        with self._lock:
            ask = Ask(
                len(self.asks),
                key,
                body,
                {name.lower(): value for name, value in handler.headers.items()},
                self._seen[key],
            )
            self._seen[key] += 1
            self.asks.append(ask)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            self._reply(handler, ask)
        finally:
            with self._lock:
                self.under_way -= 1

    def _reply(self, handler: BaseHTTPRequestHandler, ask: Ask) -> None:
        fault = self.fault(ask)
        if fault is Fault.DROPPED:
            handler.close_connection = True
            handler.connection.close()
            return
        if fault in _ERRORS:
            status, error = _ERRORS[fault]
            given = ask.headers.get("authorization", "").removeprefix("Bearer ")
            error = {**error, "message": error["message"].replace("{key}", given)}
            write_reply(handler, status, json.dumps({"error": error}).encode(), {"Retry-After": self.retry_after})
            return
        if fault is Fault.GATEWAY:
            write_reply(handler, 200, json.dumps({"error": {"message": "the provider is down"}}).encode())
            return
        if fault is Fault.HTML:
            write_reply(handler, 200, b"<html>maintenance</html>")
            return
        time.sleep(self.seconds)
        with self._lock:
            if ask.key not in self._answered:
                self._answered[ask.key] = self.paid(ask, fault)
            content = self._answered[ask.key]
        if fault is Fault.SLOW:
            time.sleep(self.slow)
        write_reply(handler, 200, content)

    def paid(self, ask: Ask, fault: Fault | None) -> bytes:
        """Make an answer and write it on the bill."""
        text, finish, refusal = json.dumps(self.answer(ask)), "stop", None
        if fault is Fault.TRUNCATED:
            text, finish = text[: len(text) // 2], "length"
        elif fault is Fault.WRONG_SCHEMA:
            text = json.dumps({"verdict": "fine"})
        elif fault is Fault.WORDS:
            text = "I would give this one a seven."
        elif fault is Fault.REFUSAL:
            text, refusal = "", "I cannot help with that."
        prompt, visible, thinking = len(ask.text) // 4, len(text) // 4 + 1, len(ask.text) % 50
        self.account.calls += 1
        self.account.prompt += prompt
        self.account.output += visible + thinking
        self.account.thinking += thinking
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": visible + thinking,
            "total_tokens": prompt + visible + thinking,
            "completion_tokens_details": {"reasoning_tokens": thinking},
        }
        message = {"role": "assistant", "content": text, "refusal": refusal}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        response = {"id": f"reply-{ask.number}", "object": "chat.completion", "model": ask.body["model"]}
        return json.dumps({**response, "choices": [choice], "usage": usage}).encode()


class Batches:
    """`/v1/files` and `/v1/batches` of the OpenAI protocol; a batch is done at the `looks`-th look."""

    def __init__(self, oracle: ScriptedOracle) -> None:
        self.oracle = oracle
        self.files: dict[str, bytes] = {}
        self.made: dict[str, Body] = {}
        self.looks = 2
        self.on_create: Callable[[], None] = lambda: None

    def post(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        if handler.path.endswith("/files"):
            part = next(part for part in content.split(b"\r\n--") if b'name="file"' in part)
            id_ = self._file(part.split(b"\r\n\r\n", 1)[1])
            document: Body = {"id": id_, "object": "file", "bytes": 1, "created_at": 1, "filename": "batch.jsonl"}
            write_reply(handler, 200, json.dumps({**document, "purpose": "batch", "status": "processed"}).encode())
            return
        asked = json.loads(content)
        batch = self._batch(asked)
        self.made[batch["id"]] = batch
        self.on_create()
        write_reply(handler, 200, json.dumps(batch).encode())

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        parts = handler.path.split("?")[0].strip("/").split("/")
        if parts[-1] == "content":
            write_reply(handler, 200, self.files[parts[-2]])
        elif parts[-1] == "batches":
            found = list(self.made.values())
            write_reply(handler, 200, json.dumps({"object": "list", "data": found, "has_more": False}).encode())
        else:
            batch = self.made[parts[-1]]
            batch["looks"] += 1
            batch["status"] = "completed" if batch["looks"] >= self.looks else "in_progress"
            write_reply(handler, 200, json.dumps(batch).encode())

    def _file(self, content: bytes) -> str:
        self.files[id_ := f"file-{len(self.files)}"] = content
        return id_

    def _batch(self, asked: Body) -> Body:
        results: list[Body] = []
        errors: list[Body] = []
        for line in self.files[asked["input_file_id"]].splitlines():
            request = json.loads(line)
            ask = Ask(len(self.oracle.asks), request["custom_id"], request["body"], {}, 0)
            self.oracle.asks.append(ask)
            fault = self.oracle.fault(ask)
            if fault is Fault.BROKEN:
                response = {"status_code": 500, "body": {"error": {"message": "boom"}}}
                errors.append({"custom_id": ask.key, "response": response, "error": None})
                continue
            body = json.loads(self.oracle.paid(ask, fault))
            results.append({"custom_id": ask.key, "response": {"status_code": 200, "body": body}, "error": None})
        output, failed = (
            self._file("".join(json.dumps(row) + "\n" for row in rows).encode()) if rows else None
            for rows in (results, errors)
        )
        return {
            "id": f"batch-{len(self.made)}", "object": "batch", "endpoint": asked["endpoint"], "status": "in_progress",
            "input_file_id": asked["input_file_id"], "completion_window": "24h", "created_at": 1,
            "metadata": asked["metadata"], "output_file_id": output, "error_file_id": failed, "looks": 0,
        }  # fmt: skip


def write_reply(
    handler: BaseHTTPRequestHandler, status: int, content: bytes, headers: Mapping[str, str] | None = None
) -> None:
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)
