"""Asking by batches, whoever the provider is: made once, paid once, their replies in the journal.

A batch is written down before it is made and carries a tag, so that after a kill it is found
again at the provider and not made twice.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import openai

from distilled_filters.errors import SettingError
from distilled_filters.files import write_json
from distilled_filters.training.oracle.batches.anthropic import AnthropicBatches
from distilled_filters.training.oracle.batches.gemini import GeminiBatches
from distilled_filters.training.oracle.batches.openai import OpenAIBatches
from distilled_filters.training.oracle.batches.provider import Body, Entry, Provider, Result, Status, fingerprint
from distilled_filters.training.oracle.client import Oracle, Question
from distilled_filters.training.oracle.errors import AnswerError, OracleStoppedError, Problem, Stop
from distilled_filters.training.oracle.failures import TransientError, failure_of
from distilled_filters.training.oracle.providers import Batching, batching_of

__all__ = ["BATCH_SHARE", "ask_in_batches", "refuse_open_batches"]

BATCH_SHARE = 0.5
"""Of the usual price."""
_STATE = "batches.json"
# The question and its repair.
_ROUNDS = 2
# Results that cannot be read may have been cut off on the way.
_READINGS = 2

_PROVIDERS: Mapping[Batching, type[Provider]] = {
    Batching.OPENAI: OpenAIBatches,
    Batching.ANTHROPIC: AnthropicBatches,
    Batching.GEMINI: GeminiBatches,
}


async def ask_in_batches(
    oracle: Oracle, questions: Sequence[Question[Any]], folder: Path, *, poll: float, say: Callable[[str], None]
) -> dict[str, AnswerError]:
    """Bring the replies to questions into the journal, and those to the repairs they need.

    `poll` is the pause between two looks, in seconds. Returns by call what the provider did not answer.

    Raises:
        OracleStoppedError: when the provider refuses a batch or cannot be reached, or the budget is too small.
        SettingError: when the endpoint has no batches.
    """
    asking = _Asking(oracle, _PROVIDERS[batching_of(oracle.endpoint)](oracle), folder, poll, say)
    # Requests of an interrupted submission are among the pending ones again where the provider knows no batch of them.
    await asking.collect()
    for _ in range(_ROUNDS):
        pending = asking.pending(questions)
        if not pending:
            break
        usd_at_most = sum(BATCH_SHARE * oracle.usd_at_most(body) for body in pending.values())
        oracle.check_budget(usd_at_most, f"a batch of {len(pending):,} requests")
        for chunk in asking.chunks(pending):
            await asking.submit(chunk)
        await asking.collect()
    return asking.failed


def refuse_open_batches(folder: Path) -> None:
    """Refuse to ask one by one what a batch is being paid for.

    Raises:
        SettingError: when there is a batch without its results.
    """
    waiting = [f"{entry.id or entry.tag} of {entry.model}" for entry in _read(folder) if not entry.collected]
    if waiting:
        raise SettingError(f"{folder} waits for the batch {', '.join(waiting)}; go on with --batch and that --model")


class _Asking:
    """One oracle's batches in a folder; `failed` says by call why there is no reply."""

    def __init__(
        self, oracle: Oracle, provider: Provider, folder: Path, poll: float, say: Callable[[str], None]
    ) -> None:
        self._oracle, self._provider, self._folder, self._poll, self._say = oracle, provider, folder, poll, say
        self._entries = _read(folder)
        self._reserve()
        self.failed: dict[str, AnswerError] = {}

    def pending(self, questions: Sequence[Question[Any]]) -> dict[str, Body]:
        """Return the calls that questions need next, but for those that were refused."""
        calls = (self._oracle.request(question, self._provider.structure) for question in questions)
        refused = {call for call, error in self.failed.items() if error.problem is Problem.BAD_REQUEST}
        return {call[0]: call[1] for call in calls if call is not None and call[0] not in refused}

    def chunks(self, pending: Mapping[str, Body]) -> Iterator[dict[str, Body]]:
        """Part calls into batches that the provider takes."""
        chunk: dict[str, Body] = {}
        size = 0
        for call, body in pending.items():
            length = len(json.dumps(self._provider.request(call, body)))
            if chunk and (len(chunk) == self._provider.most_requests or size + length > self._provider.most_bytes):
                yield chunk
                chunk, size = {}, 0
            chunk[call] = body
            size += length
        if chunk:
            yield chunk

    async def submit(self, bodies: Mapping[str, Body]) -> None:
        """Write a batch down, then make it."""
        model = self._oracle.endpoint.model
        most = max(BATCH_SHARE * self._oracle.usd_at_most(body) for body in bodies.values())
        entry = Entry(f"{fingerprint(bodies)}-{len(self._entries)}", model, len(bodies), time.time(), most)
        self._entries.append(entry)
        self._write()
        try:
            with self._named_errors():
                entry.id = await self._provider.submit(
                    entry.tag, [self._provider.request(call, body) for call, body in bodies.items()]
                )
        except OracleStoppedError as error:
            if error.stop is not Stop.UNREACHABLE:
                # Refused, so there is none to wait for.
                self._entries.remove(entry)
                self._write()
            raise
        self._write()
        self._say(f"batch {entry.id}: {entry.calls:,} requests to {model}; it may take a day")

    async def collect(self) -> None:
        """Wait for the open batches of this model and bring their replies into the journal."""
        for entry in list(self._entries):
            if entry.collected or entry.model != self._oracle.endpoint.model:
                continue
            with self._named_errors(entry.id):
                if entry.id is None:
                    known = [each.id for each in self._entries if each.id]
                    entry.id = await self._provider.find(entry, known, self._ended)
                    self._write()
                if entry.id is not None:
                    await self._take(entry, entry.id)
            entry.collected = True
            self._write()

    async def _take(self, entry: Entry, id_: str) -> None:
        status = await self._ended(id_)
        for reading in range(_READINGS):
            if reading:
                await asyncio.sleep(self._poll)
            results = await self._provider.results(id_)
            for result in filter(None, results):
                self._keep(entry, result)
            if None not in results:
                break
        if lost := results.count(None):
            for number in range(lost):
                self._oracle.calls.send(f"{entry.tag}:{number}", entry.model, entry.usd_at_most)
            self._say(f"batch {id_}: {lost:,} of its results cannot be read; these questions are asked again")
        if status.failure:
            self._entries.remove(entry)
            self._write()
            raise OracleStoppedError(Stop.UNREACHABLE, f"batch {id_} failed: {self._oracle.redacted(status.failure)}")

    async def _ended(self, id_: str) -> Status:
        last = ""
        while True:
            try:
                with self._typed_errors():
                    status = await self._provider.look(id_)
                words, pause = f"batch {id_}: {status.words}", self._poll
            except TransientError as error:
                # A day is long, and the provider works on meanwhile.
                words, pause = f"batch {id_}: {error}; looking again", max(self._poll, error.retry_after)
            else:
                if status.ended:
                    self._say(words)
                    return status
            if words != last:
                self._say(words)
                last = words
            await asyncio.sleep(pause)

    def _keep(self, entry: Entry, result: Result) -> None:
        calls, call = self._oracle.calls, result.call
        if call in calls:
            return
        attempt = calls.send(call, entry.model, 0.0)
        if result.reply is not None:
            usage, cost = self._oracle.billed(result.reply, entry.usd_at_most, BATCH_SHARE)
            calls.receive(call, attempt, result.reply, usage, cost)
            self.failed.pop(call, None)
        else:
            said = self._oracle.redacted(result.said)
            calls.fail(call, attempt, result.status, said)
            self.failed[call] = AnswerError(result.problem, f"the batch {entry.id} has no answer: {said}")

    def _write(self) -> None:
        write_json(self._folder / _STATE, [asdict(entry) for entry in self._entries])
        self._reserve()

    def _reserve(self) -> None:
        """Hold back what open batches can cost, those of other models too: the budget is the folder's."""
        self._oracle.calls.reserved_usd = sum(
            entry.calls * entry.usd_at_most for entry in self._entries if not entry.collected
        )

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except openai.OpenAIError as error:
            raise failure_of(error, self._oracle.redacted(str(error)), self._oracle.endpoint) from None
        except (AttributeError, KeyError, TypeError) as error:
            raise TransientError(f"a reply that is not of the protocol: {error!r}") from error

    @contextmanager
    def _named_errors(self, id_: str | None = None) -> Iterator[None]:
        endpoint = self._oracle.endpoint
        try:
            with self._typed_errors():
                yield
        except TransientError as error:
            raise OracleStoppedError(Stop.UNREACHABLE, f"{error}; run the same command again") from None
        except AnswerError as error:
            raise OracleStoppedError(Stop.BAD_REQUEST, f"{endpoint.base_url} refuses the batch: {error}") from None
        except OracleStoppedError as error:
            if error.stop is Stop.UNKNOWN_MODEL and id_ is not None:
                message = (
                    f"{endpoint.base_url} does not know the batch {id_}: {error}. If it is gone for good, take it out "
                    f"of {self._folder / _STATE}; its questions are then asked, and paid for, again"
                )
                raise OracleStoppedError(Stop.UNKNOWN_MODEL, message) from None
            if error.stop is Stop.UNKNOWN_MODEL:
                message = f"{endpoint.base_url} has no batches, or not of this model: {error}"
                raise OracleStoppedError(Stop.UNKNOWN_MODEL, message) from None
            raise


def _read(folder: Path) -> list[Entry]:
    path = folder / _STATE
    try:
        return [Entry(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []
    except (ValueError, TypeError) as error:
        raise SettingError(
            f"{path} is damaged: {error}. It names the batches that are paid for: restore it, or remove it "
            "if the provider has no batch whose results are missing here"
        ) from None
