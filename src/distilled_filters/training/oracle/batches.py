"""Asking by `/v1/batches` of the OpenAI protocol: an answer within a day, at half the price.

A batch is written down before it is made and carries a tag, so that after a kill it is found
again at the provider and not made twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import openai
from openai.types import Batch

from distilled_filters.errors import SettingError
from distilled_filters.files import write_json
from distilled_filters.training.oracle.client import Oracle, Question
from distilled_filters.training.oracle.errors import OracleStoppedError, Stop
from distilled_filters.training.oracle.failures import TransientError, failure_of

__all__ = ["ask_in_batches", "refuse_open_batches"]

_SHARE = 0.5
"""Of the usual price."""
_ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_TAG = "distillery"
# Half of what OpenAI takes in one file, 50,000 requests and 200 MB.
_MOST_REQUESTS, _MOST_BYTES = 25_000, 100 * 2**20
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_STATE = "batches.json"
# The question and its repair.
_ROUNDS = 2

State = list[dict[str, Any]]


async def ask_in_batches(
    oracle: Oracle, questions: Sequence[Question[Any]], folder: Path, *, poll: float, say: Callable[[str], None]
) -> None:
    """Bring the replies to questions into the journal, and those to the repairs they need.

    What the provider did not answer stays unasked. `poll` is the pause between two looks, in seconds.

    Raises:
        OracleStoppedError: when the provider has no batches, refuses one, or the budget is too small.
    """
    # Requests of an interrupted submission are among the pending ones again where the provider knows no batch of them.
    await _collect(oracle, folder, poll, say)
    for _ in range(_ROUNDS):
        pending = dict(call for question in questions if (call := oracle.request(question)) is not None)
        if not pending:
            return
        oracle.check_budget(sum(_SHARE * oracle.usd_at_most(body) for body in pending.values()))
        for chunk in _chunks(pending):
            await _submit(oracle, chunk, folder, say)
        await _collect(oracle, folder, poll, say)


def refuse_open_batches(folder: Path) -> None:
    """Refuse to ask one by one what a batch is being paid for.

    Raises:
        SettingError: when there is a batch without its results.
    """
    waiting = [batch["id"] or batch["tag"] for batch in _state(folder) if not batch["collected"]]
    if waiting:
        raise SettingError(f"{folder} waits for the batch {', '.join(waiting)}; go on with --batch")


async def _submit(oracle: Oracle, requests: Mapping[str, Any], folder: Path, say: Callable[[str], None]) -> None:
    lines = [_line(call, body) for call, body in requests.items()]
    state = _state(folder)
    tag = hashlib.sha256(f"{len(state)} {sorted(requests)}".encode()).hexdigest()[:16]
    entry = {"tag": tag, "id": None, "model": oracle.endpoint.model, "calls": len(requests), "collected": False}
    write_json(folder / _STATE, [*state, entry])
    with _named_errors(oracle):
        file = await oracle.client.files.create(file=(f"{tag}.jsonl", "".join(lines).encode()), purpose="batch")
        batch = await oracle.client.batches.create(
            input_file_id=file.id, endpoint=_ENDPOINT, completion_window="24h", metadata={_TAG: tag}
        )
    write_json(folder / _STATE, [*state, {**entry, "id": batch.id}])
    say(f"batch {batch.id}: {len(requests):,} requests to {oracle.endpoint.model}; it may take a day")


async def _collect(oracle: Oracle, folder: Path, poll: float, say: Callable[[str], None]) -> None:
    """Wait for the open batches of this model and bring their replies into the journal."""
    state = _state(folder)
    for entry in state:
        if entry["collected"] or entry["model"] != oracle.endpoint.model:
            continue
        with _named_errors(oracle):
            entry["id"] = entry["id"] or await _found(oracle, entry["tag"])
            if entry["id"] is not None:
                write_json(folder / _STATE, state)
                batch = await _ended(oracle, entry["id"], poll, say)
                for file in (batch.output_file_id, batch.error_file_id):
                    if file is not None:
                        _keep(oracle, (await oracle.client.files.content(file)).text)
                if batch.status == "failed":
                    state.remove(entry)
                    write_json(folder / _STATE, state)
                    reasons = [each.message for each in (batch.errors and batch.errors.data) or ()]
                    raise OracleStoppedError(
                        Stop.UNREACHABLE, f"batch {batch.id} failed: {'; '.join(map(str, reasons))}"
                    )
        entry["collected"] = True
        write_json(folder / _STATE, state)


async def _found(oracle: Oracle, tag: str) -> str | None:
    async for batch in oracle.client.batches.list(limit=100):
        if (batch.metadata or {}).get(_TAG) == tag:
            return batch.id
    return None


async def _ended(oracle: Oracle, id_: str, poll: float, say: Callable[[str], None]) -> Batch:
    last = ""
    while True:
        try:
            batch = await oracle.client.batches.retrieve(id_)
        except openai.APIConnectionError:
            await asyncio.sleep(poll)
            continue
        counts = batch.request_counts
        progress = f"batch {id_}: {batch.status}" + (f", {counts.completed:,} of {counts.total:,}" if counts else "")
        if progress != last:
            say(progress)
            last = progress
        if batch.status in _ENDED:
            return batch
        await asyncio.sleep(poll)


def _keep(oracle: Oracle, content: str) -> None:
    # Not splitlines, which also splits at separators that JSON strings may hold.
    for line in oracle.redacted_reply(content).split("\n"):
        if not line.strip():
            continue
        result = json.loads(line)
        call, response = result["custom_id"], result.get("response") or {}
        if call in oracle.calls:
            continue
        attempt = oracle.calls.send(call, oracle.endpoint.model, 0.0)
        if response.get("status_code") == 200:
            body = response["body"]
            usage, cost = oracle.billed(body, {"messages": []}, _SHARE)
            oracle.calls.receive(call, attempt, body, usage, cost)
        else:
            said = json.dumps(result.get("error") or response.get("body"))
            oracle.calls.fail(call, attempt, response.get("status_code"), said)


def _chunks(requests: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    chunk: dict[str, Any] = {}
    size = 0
    for call, body in requests.items():
        length = len(_line(call, body).encode())
        if chunk and (len(chunk) == _MOST_REQUESTS or size + length > _MOST_BYTES):
            yield chunk
            chunk, size = {}, 0
        chunk[call] = body
        size += length
    if chunk:
        yield chunk


def _line(call: str, body: Mapping[str, Any]) -> str:
    return json.dumps({"custom_id": call, "method": "POST", "url": _ENDPOINT, "body": body}) + "\n"


def _state(folder: Path) -> State:
    path = folder / _STATE
    state: State = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return state


@contextmanager
def _named_errors(oracle: Oracle) -> Iterator[None]:
    try:
        yield
    except openai.OpenAIError as error:
        failure = failure_of(error, oracle.redacted(str(error)), oracle.endpoint)
        if isinstance(failure, TransientError):
            raise OracleStoppedError(Stop.UNREACHABLE, f"{failure}; run the same command again") from None
        if isinstance(failure, OracleStoppedError) and failure.stop is Stop.UNKNOWN_MODEL:
            raise OracleStoppedError(
                Stop.UNKNOWN_MODEL, f"{oracle.endpoint.base_url} has no batches, or not of this model: {failure}"
            ) from None
        raise failure from None
