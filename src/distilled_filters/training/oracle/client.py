"""One question to a language model, by any OpenAI-compatible endpoint: asked once, paid once, checked.

```python
with Calls(Path("labelled/raw")) as calls:
    async with Oracle(make_endpoint("gemini-flash"), calls, budget_usd=5.0) as oracle:
        reply = await oracle.ask([{"role": "user", "content": "..."}], Verdict)
        reply.parsed.score, reply.usage.thinking, reply.cost_usd
```

`Verdict` is a pydantic model. The same question asked again, in this process or after a
kill, comes from the journal. The key is read from `ORACLE_API_KEY` and goes nowhere but
into the request.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar

import openai
from aiolimiter import AsyncLimiter
from pydantic import BaseModel
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from distilled_filters.errors import SettingError
from distilled_filters.training.oracle.answers import json_schema, parse_answer, text_of
from distilled_filters.training.oracle.calls import Calls
from distilled_filters.training.oracle.errors import AnswerError, OracleError, OracleStoppedError, Problem, Stop
from distilled_filters.training.oracle.failures import TransientError, failure_of, wants_no_schema, was_never_sent
from distilled_filters.training.oracle.providers import Endpoint, Structure, Usage

__all__ = ["API_KEY", "Message", "Oracle", "Question", "Reply", "check_endpoint", "each"]

API_KEY = "ORACLE_API_KEY"

Message: TypeAlias = dict[str, str]
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
R = TypeVar("R")

_MINUTE = 60.0
_DAY = 24 * 3600.0
_LONGEST_PAUSE = 60.0
_LOOK_AGAIN = 0.05
# Characters of an error: a gateway may answer with a page.
_SHOWN = 1000
# What is set where a server asks for no key ("none", "EMPTY") is no secret, and may be a word of any answer.
_SHORTEST_KEY = 12
# Tokens of a text by its bytes: 4 is usual in European languages, and no tokenizer in use is worse than 2 there.
_BYTES_A_TOKEN, _FEWEST_BYTES_A_TOKEN = 4, 2
# The question, and its repair.
_TURNS = 2
# So many questions in a row without any answer, and nobody is there.
_HOPELESS = 10


@dataclass(frozen=True, slots=True)
class Reply(Generic[M]):
    """A checked answer; usage and cost are those of all its turns, whenever they were paid."""

    parsed: M
    raw: dict[str, Any]
    """The last chat completion as it came."""
    usage: Usage
    cost_usd: float
    turns: int
    """2 where the first answer had to be repaired."""


@dataclass(frozen=True, slots=True)
class Question(Generic[M]):
    """What an oracle is asked, and what makes an answer good.

    `check` says what is wrong with an answer of the right form, None where nothing is.
    `sample` tells repeated readings of one question apart. `note` is kept beside the raw
    reply, for people.
    """

    messages: Sequence[Message]
    schema: type[M]
    check: Callable[[M], str | None] | None = None
    sample: str = "0"
    note: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Turn:
    call: str
    messages: Sequence[Message]


class Oracle:
    """One model, asked with limits, retries and a budget; every reply is kept in the journal."""

    def __init__(self, endpoint: Endpoint, calls: Calls, budget_usd: float | None = None) -> None:
        """Take an open journal; several oracles may share one, and the budget then holds for all of them.

        Raises:
            SettingError: as `check_endpoint` does.
        """
        check_endpoint(endpoint, budget_usd)
        self._key = _key()
        self.endpoint = endpoint
        self.calls = calls
        self.budget_usd = budget_usd
        self._structure = endpoint.structure
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        per_minute, tokens = endpoint.requests_per_minute, endpoint.tokens_per_minute
        # Evenly spaced: providers refuse a minute's worth that comes in one second.
        self._requests = AsyncLimiter(1, _MINUTE / per_minute) if per_minute else None
        self._tokens = AsyncLimiter(tokens, _MINUTE) if tokens else None
        self._not_before = 0.0
        self._client = openai.AsyncOpenAI(
            # Local servers want no key and the client insists on one.
            api_key=self._key or "none",
            base_url=endpoint.base_url,
            max_retries=0,
            timeout=endpoint.timeout,
        )
        self._under_way = 0
        self._asking: dict[str, asyncio.Event] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def ask(
        self,
        messages: Sequence[Message],
        schema: type[M],
        *,
        check: Callable[[M], str | None] | None = None,
        sample: str = "0",
        note: Mapping[str, Any] | None = None,
    ) -> Reply[M]:
        """Ask, check the answer, and let the model mend it once.

        Raises:
            AnswerError: when this question has no usable answer.
            OracleStoppedError: when no question can be asked any more.
        """
        return await self.answer(Question(messages, schema, check, sample, note))

    async def answer(self, question: Question[M]) -> Reply[M]:
        """Do what `ask` does for a question made beforehand."""
        while isinstance(state := self._state(question), _Turn):
            await self._call(state, question)
        return state

    def reply(self, question: Question[M]) -> Reply[M]:
        """Return the reply to a question that is in the journal with all its turns.

        Raises:
            AnswerError: when its answer cannot be used.
            OracleError: when it has not been asked.
        """
        state = self._state(question)
        if isinstance(state, _Turn):
            raise OracleError(f"the question {state.call[:12]} has not been asked")
        return state

    def is_begun(self, question: Question[M]) -> bool:
        """Tell whether the first turn of a question is in the journal."""
        return self._first_turn(question).call in self.calls

    def is_asked(self, question: Question[M]) -> bool:
        """Tell whether a question is in the journal with all its turns, answered well or not."""
        return self._open_turn(question) is None

    def request(self, question: Question[M], structure: Structure | None = None) -> tuple[str, dict[str, Any]] | None:
        """Return the call that a question needs next, its key and its request's body; None when it is asked.

        `structure` says how the answer's form is told, where that is not as in single calls.
        """
        turn = self._open_turn(question)
        return (turn.call, self._body(turn, question.schema, structure or self._structure)) if turn else None

    def open_call(self, question: Question[M]) -> str | None:
        """Return the key of the call that a question needs next; None when it is asked."""
        turn = self._open_turn(question)
        return turn.call if turn else None

    def expected_tokens(self, question: Question[M]) -> int:
        """Return about how many tokens the question itself has."""
        body = self._body(self._first_turn(question), question.schema, self._structure)
        return math.ceil(_size(body) / _BYTES_A_TOKEN)

    def usd_at_most(self, body: Mapping[str, Any]) -> float:
        """Return the most that one call with a request's body can cost, in US dollars."""
        bound = Usage(prompt=math.ceil(_size(body) / _FEWEST_BYTES_A_TOKEN), output=self.endpoint.max_output_tokens)
        return self.endpoint.prices.cost(bound) if self.endpoint.prices else 0.0

    def billed(self, response: Mapping[str, Any], usd_at_most: float, share: float = 1.0) -> tuple[Usage, float]:
        """Return tokens and US dollars of a reply at a share of the price; one without usage counts at the most."""
        prices, given = self.endpoint.prices, response.get("usage")
        if isinstance(given, Mapping):
            usage = Usage.of(given)
            return usage, share * prices.cost(usage) if prices else 0.0
        return Usage(), usd_at_most

    def redacted(self, text: str) -> str:
        """Return text without the key, which some providers repeat in their errors."""
        return text.replace(self._key, "[key]") if self._key else text

    def redacted_reply(self, text: str) -> str:
        """Return a reply without the key; a stand-in for one is left alone, or it would be cut out of the answer."""
        return self.redacted(text) if len(self._key) >= _SHORTEST_KEY else text

    @property
    def key(self) -> str:
        """The key, for a protocol that wants it in a place of its own; "none" where the server asks for none."""
        return self._client.api_key

    @property
    def client(self) -> openai.AsyncOpenAI:
        """The provider's client, for what is no single call."""
        return self._client

    def _open_turn(self, question: Question[M]) -> _Turn | None:
        try:
            state = self._state(question)
        except AnswerError:
            return None
        return state if isinstance(state, _Turn) else None

    def _first_turn(self, question: Question[M]) -> _Turn:
        return self._turn(question.messages, question)

    def _repair_turn(
        self, question: Question[M], turn: _Turn, response: Mapping[str, Any], error: AnswerError
    ) -> _Turn:
        said = text_of(response)
        mend = f"Your answer cannot be used: {error}. Answer again, with one JSON object of the asked form only."
        if error.problem in {Problem.NOT_JSON, Problem.WRONG_SCHEMA}:
            # Some servers take `response_format` and do nothing with it.
            mend += f" Its JSON Schema:\n{json.dumps(json_schema(question.schema), ensure_ascii=False)}"
        answered = [{"role": "assistant", "content": said}] if said else []
        return self._turn([*turn.messages, *answered, {"role": "user", "content": mend}], question)

    def _turn(self, messages: Sequence[Message], question: Question[M]) -> _Turn:
        asked = {
            "model": self.endpoint.model,
            "messages": list(messages),
            "schema": json_schema(question.schema),
            "sample": question.sample,
            "temperature": self.endpoint.temperature,
            "reasoning_effort": self.endpoint.reasoning_effort,
        }
        canonical = json.dumps(asked, sort_keys=True, ensure_ascii=True)
        return _Turn(hashlib.sha256(canonical.encode()).hexdigest(), messages)

    def _state(self, question: Question[M]) -> _Turn | Reply[M]:
        """Return the first turn whose reply is not in the journal, or the reply where the conversation is over.

        Raises:
            AnswerError: when it is over without a usable answer.
        """
        turn, usage, cost, number = self._first_turn(question), Usage(), 0.0, 1
        while (event := self.calls.reply(turn.call)) is not None:
            usage, cost = usage + Usage(**event["usage"]), cost + event["usd"]
            try:
                return Reply(_checked(event["response"], question), event["response"], usage, cost, number)
            except AnswerError as error:
                if number == _TURNS or error.problem is Problem.REFUSED:
                    raise
                turn, number = self._repair_turn(question, turn, event["response"], error), number + 1
        return turn

    def _body(self, turn: _Turn, schema: type[BaseModel], structure: Structure) -> dict[str, Any]:
        endpoint, document = self.endpoint, json_schema(schema)
        body: dict[str, Any] = {
            "model": endpoint.model,
            "messages": list(turn.messages),
            endpoint.limit_field: endpoint.max_output_tokens,
        }
        if endpoint.temperature is not None:
            body["temperature"] = endpoint.temperature
        if endpoint.reasoning_effort is not None:
            body["reasoning_effort"] = endpoint.reasoning_effort
        if structure is Structure.SCHEMA:
            wanted = {"name": schema.__name__.lower(), "strict": True, "schema": document}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
            return body
        if structure is Structure.OBJECT:
            body["response_format"] = {"type": "json_object"}
        form = "Answer with one JSON object of this JSON Schema, and nothing else:\n"
        last = turn.messages[-1]
        with_form = f"{last['content']}\n\n{form}{json.dumps(document, ensure_ascii=False)}"
        body["messages"][-1] = {**last, "content": with_form}
        return body

    async def _call(self, turn: _Turn, question: Question[M]) -> None:
        """Bring a turn's reply into the journal; where the same one is under way, wait for that."""
        if (under_way := self._asking.get(turn.call)) is not None:
            await under_way.wait()
            return
        self._asking[turn.call] = asyncio.Event()
        try:
            await self._persist(turn, question)
        finally:
            self._asking.pop(turn.call).set()

    async def _persist(self, turn: _Turn, question: Question[M]) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(self.endpoint.attempts),
            wait=wait_random_exponential(multiplier=self.endpoint.backoff, max=_LONGEST_PAUSE),
            reraise=True,
        )
        async with self._slots:
            try:
                async for attempt in retrying:
                    with attempt:
                        await self._attempt(turn, question)
            except TransientError as error:
                message = f"no answer in {self.endpoint.attempts} attempts; the last one: {error}"
                raise AnswerError(Problem.UNREACHABLE, message) from None

    async def _attempt(self, turn: _Turn, question: Question[M]) -> None:
        structure = self._structure
        body = self._body(turn, question.schema, structure)
        await self._admission(body)
        usd_at_most = self.usd_at_most(body)
        attempt = self.calls.send(turn.call, self.endpoint.model, usd_at_most, question.note)
        self._under_way += 1
        try:
            response = await self._send(turn.call, body)
        except openai.OpenAIError as error:
            said = self.redacted(str(error))[:_SHOWN]
            if isinstance(error, openai.APIStatusError):
                self.calls.fail(turn.call, attempt, error.status_code, said)
            elif was_never_sent(error):
                self.calls.fail(turn.call, attempt, None, said)
            if structure is not Structure.WORDS and wants_no_schema(error):
                self._structure = list(Structure)[list(Structure).index(structure) + 1]
                raise TransientError(said) from None
            failure = failure_of(error, said, self.endpoint)
            if isinstance(failure, TransientError):
                self._not_before = max(self._not_before, time.monotonic() + failure.retry_after)
            raise failure from None
        finally:
            self._under_way -= 1
        if response.get("error") and not response.get("choices"):
            # Gateways tell a provider's error with status 200.
            said = self.redacted(json.dumps(response["error"]))[:_SHOWN]
            self.calls.fail(turn.call, attempt, None, said)
            raise TransientError(said)
        usage, cost = self.billed(response, usd_at_most)
        self.calls.receive(turn.call, attempt, response, usage, cost)

    async def _send(self, call: str, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                raw = await self._client.chat.completions.with_raw_response.create(
                    **body,
                    # A provider or gateway that honours it bills a call once that was sent twice, after a kill.
                    extra_headers={"Idempotency-Key": call},
                )
            response = json.loads(self.redacted_reply(raw.text))
        except TimeoutError as error:
            raise TransientError(f"no reply within {self.endpoint.timeout:g} s") from error
        except ValueError as error:
            raise TransientError(f"the server's reply is no JSON: {error}") from error
        if not isinstance(response, dict):
            raise TransientError(f"the server's reply is {type(response).__name__}, not an object")
        return response

    async def _admission(self, body: Mapping[str, Any]) -> None:
        """Wait until limits allow a call, and refuse where budget or day do not; no await after the last check.

        Raises:
            OracleStoppedError: `budget` or `rate_limit`.
        """
        if self._tokens:
            tokens = _size(body) / _BYTES_A_TOKEN + self.endpoint.max_output_tokens / 2
            await self._tokens.acquire(min(tokens, self._tokens.max_rate))
        if self._requests:
            await self._requests.acquire()
        while (wait := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        usd_at_most = self.usd_at_most(body)
        while not self._affordable(usd_at_most) and self._under_way:
            # A call costs less than the most it can: one that ends makes room.
            await asyncio.sleep(_LOOK_AGAIN)
        self.check_budget(usd_at_most)
        endpoint, sent = self.endpoint, self.calls.last_day(self.endpoint.model)
        if endpoint.requests_per_day and len(sent) >= endpoint.requests_per_day:
            hours = (sent[0] + _DAY - time.time()) / 3600
            raise OracleStoppedError(
                Stop.RATE_LIMIT,
                f"{len(sent)} calls to {endpoint.model} in 24 hours, the daily limit is {endpoint.requests_per_day}; "
                f"run the same command again, from {hours:.1f} hours on",
            )

    def _affordable(self, usd_at_most: float) -> bool:
        spent = self.calls.spending()
        bound = spent.usd + spent.in_doubt_usd + self.calls.reserved_usd
        return self.budget_usd is None or bound + usd_at_most <= self.budget_usd

    def check_budget(self, usd_at_most: float, what: str = "the next call") -> None:
        """Refuse what could go beyond the budget, calls and batches on their way counted at the most they can cost.

        Raises:
            OracleStoppedError: `budget`.
        """
        if not self._affordable(usd_at_most):
            spent, batches = self.calls.spending(), self.calls.reserved_usd
            raise OracleStoppedError(
                Stop.BUDGET,
                f"{what} may cost ${usd_at_most:.4f}; ${spent.usd:.4f} of ${self.budget_usd:g} is spent and "
                f"up to ${max(spent.in_doubt_usd, 0.0):.4f} in doubt"
                f"{f', and open batches may cost ${batches:.4f}' if batches else ''}. What was paid for is kept; "
                "a higher --budget goes on from here",
            )


def check_endpoint(endpoint: Endpoint, budget_usd: float | None) -> None:
    """Say whether a model can be asked at all, before anything is made for it.

    Raises:
        SettingError: when there is no key for an endpoint that is not on this machine,
            or a budget and no prices.
    """
    if budget_usd is not None and endpoint.prices is None:
        raise SettingError(
            f"a budget needs prices, and those of {endpoint.model} are not known: "
            "give --price-in and --price-out, US dollars a million tokens"
        )
    if not _key() and not endpoint.is_local:
        raise SettingError(
            f"no key for {endpoint.base_url}: set the environment variable {API_KEY}, "
            "to any text where the server asks for none"
        )


async def each(
    work: Callable[[T], Awaitable[R]], items: Iterable[T], workers: int
) -> AsyncIterator[tuple[T, R | AnswerError]]:
    """Yield every item with its result, or with the error of its question, as they come.

    After an `OracleStoppedError`, and after ten questions in a row that nobody answered, no
    further item is begun; those under way are waited for and yielded, then it is raised.
    """
    queue: asyncio.Queue[tuple[T, R | AnswerError] | BaseException | None] = asyncio.Queue(maxsize=workers)
    source, stopped = iter(items), asyncio.Event()

    async def worker() -> None:
        try:
            for item in source:
                try:
                    await queue.put((item, await work(item)))
                except AnswerError as error:
                    await queue.put((item, error))
                if stopped.is_set():
                    break
        except Exception as error:
            stopped.set()
            await queue.put(error)
        await queue.put(None)

    tasks = [asyncio.create_task(worker()) for _ in range(workers)]
    running, unanswered = len(tasks), 0
    ending: BaseException | None = None
    try:
        while running:
            result = await queue.get()
            if result is None:
                running -= 1
            elif isinstance(result, BaseException):
                ending = ending or result
            else:
                error = result[1]
                lost = isinstance(error, AnswerError) and error.problem in {Problem.UNREACHABLE, Problem.BAD_REQUEST}
                unanswered = unanswered + 1 if lost else 0
                yield result
                if unanswered == _HOPELESS and ending is None:
                    stopped.set()
                    ending = OracleStoppedError(
                        Stop.UNREACHABLE, f"{_HOPELESS} questions in a row without an answer; the last: {error}"
                    )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if ending is not None:
        raise ending


def _key() -> str:
    return os.environ.get(API_KEY, "").strip()


def _checked(response: Mapping[str, Any], question: Question[M]) -> M:
    parsed = parse_answer(response, question.schema)
    problem = question.check(parsed) if question.check else None
    if problem:
        raise AnswerError(Problem.UNFAITHFUL, problem)
    return parsed


def _size(body: Mapping[str, Any]) -> int:
    return len(json.dumps([body["messages"], body.get("response_format")], ensure_ascii=False).encode())
