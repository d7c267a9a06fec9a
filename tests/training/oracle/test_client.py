"""Asking one question: retries, limits, budget, repair, and what is never asked again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

pytest.importorskip("openai")

from distilled_filters.errors import SettingError
from distilled_filters.training.oracle.calls import Calls
from distilled_filters.training.oracle.client import Oracle, Reply, each
from distilled_filters.training.oracle.errors import AnswerError, OracleStoppedError, Problem, Stop
from distilled_filters.training.oracle.providers import make_endpoint
from examples.walkthrough.server import PRICES, Ask, Fault, ScriptedOracle


class Verdict(BaseModel):
    score: float = Field(ge=0, le=10)


def question(text: str = "How good is this?") -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def answer(ask: Ask) -> dict[str, Any]:
    return {"score": 7.0}


def once(fault: Fault) -> Callable[[Ask], Fault | None]:
    """The first request goes wrong, later ones do not."""
    return lambda ask: fault if ask.number == 0 else None


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[Calls]:
    with Calls(tmp_path / "raw") as journal:
        yield journal


def ask(
    server: ScriptedOracle, calls: Calls, *texts: str, budget: float | None = None, **settings: Any
) -> list[Reply[Verdict]]:
    """Ask one question after the other, the way a program does."""
    given: dict[str, Any] = {"backoff": 0.01, "timeout": 5.0, **settings}
    endpoint = make_endpoint(None, server.url, "scripted", *PRICES, **given)

    async def run() -> list[Reply[Verdict]]:
        async with Oracle(endpoint, calls, budget) as oracle:
            return [await oracle.ask(question(text), Verdict) for text in texts or ("How good is this?",)]

    return asyncio.run(run())


def test_a_reply_tells_answer_tokens_and_cost(calls: Calls) -> None:
    with ScriptedOracle(answer) as server:
        (reply,) = ask(server, calls)
    assert reply.parsed == Verdict(score=7.0)
    assert (reply.usage.prompt, reply.usage.output) == (server.account.prompt, server.account.output)
    assert reply.usage.thinking == server.account.thinking > 0
    assert reply.cost_usd == pytest.approx(server.account.usd)
    (sent,) = server.asks
    assert sent.body["response_format"]["json_schema"]["schema"]["additionalProperties"] is False


def test_a_question_is_paid_once_over_processes(tmp_path: Path) -> None:
    with ScriptedOracle(answer) as server:
        for _ in range(2):
            with Calls(tmp_path) as calls:
                (reply,) = ask(server, calls)
                assert reply.parsed.score == 7.0
        assert len(server.asks) == 1


@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.BROKEN, Fault.DROPPED, Fault.GATEWAY, Fault.HTML])
def test_a_passing_fault_is_tried_again(fault: Fault, calls: Calls) -> None:
    with ScriptedOracle(answer, once(fault)) as server:
        (reply,) = ask(server, calls)
    assert reply.turns == 1
    assert len(server.asks) == 2
    assert server.account.calls == calls.spending().calls == 1


def test_retry_after_is_waited_for(calls: Calls) -> None:
    with ScriptedOracle(answer, once(Fault.RATE_LIMIT), retry_after="1") as server:
        ask(server, calls)
    first, second = server.asks
    assert second.at - first.at >= 1.0


@pytest.mark.parametrize("value", ["soon", "Wed, 21 Oct 2015 07:28:00 GMT", "-3", "nan"])
def test_a_retry_after_that_says_nothing_is_no_pause(value: str, calls: Calls) -> None:
    with ScriptedOracle(answer, once(Fault.RATE_LIMIT), retry_after=value) as server:
        ask(server, calls)
    assert len(server.asks) == 2


def test_a_retry_after_of_an_hour_stops_the_job(calls: Calls) -> None:
    server = ScriptedOracle(answer, once(Fault.RATE_LIMIT), retry_after="3600")
    with server, pytest.raises(OracleStoppedError, match="60 minutes") as caught:
        ask(server, calls)
    assert caught.value.stop is Stop.RATE_LIMIT


def test_a_slow_reply_ends_at_the_time_out_and_stays_in_doubt(calls: Calls) -> None:
    with ScriptedOracle(answer, once(Fault.SLOW), slow=2.0) as server:
        started = time.monotonic()
        ask(server, calls, timeout=0.3)
    assert time.monotonic() - started < 2.0
    spent = calls.spending()
    assert (spent.calls, spent.in_doubt) == (1, 1)
    assert spent.in_doubt_usd > 0
    # This server honours the key, and so has billed one call for both.
    assert server.account.calls == 1


def test_a_server_that_is_not_there_leaves_nothing_in_doubt(calls: Calls) -> None:
    with ScriptedOracle(answer) as server:
        pass
    with pytest.raises(AnswerError, match=r"no answer in 2 attempts.*127\.0\.0\.1"):
        ask(server, calls, attempts=2)
    assert (calls.spending().errors, calls.spending().in_doubt) == (2, 0)


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.WRONG_SCHEMA, Fault.WORDS])
def test_a_bad_answer_is_mended_in_one_turn(fault: Fault, calls: Calls) -> None:
    with ScriptedOracle(answer, once(fault)) as server:
        (reply,) = ask(server, calls)
    assert reply.turns == 2
    assert reply.cost_usd == pytest.approx(server.account.usd)
    assert "cannot be used" in server.asks[1].body["messages"][-1]["content"]


def test_a_repair_is_taken_up_where_a_kill_left_it(tmp_path: Path) -> None:
    with ScriptedOracle(answer, once(Fault.WORDS)) as server:
        with Calls(tmp_path) as calls:
            ask(server, calls)
        lines = (tmp_path / "calls.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        assert [json.loads(line)["event"] for line in lines] == ["sent", "reply", "sent", "reply"]
        (tmp_path / "calls.jsonl").write_text("".join(lines[:3]) + lines[3][:40], encoding="utf-8")
        with Calls(tmp_path) as calls:
            (reply,) = ask(server, calls)
            assert reply.turns == 2
            assert calls.spending().in_doubt == 1
        assert len(server.asks) == 3
        assert server.account.calls == 2


@pytest.mark.parametrize(
    ("fault", "problem", "requests"),
    [
        (Fault.REFUSAL, Problem.REFUSED, 1),
        (Fault.WRONG_SCHEMA, Problem.WRONG_SCHEMA, 2),
        (Fault.TRUNCATED, Problem.TRUNCATED, 2),
        (Fault.WORDS, Problem.NOT_JSON, 2),
        (Fault.BROKEN, Problem.UNREACHABLE, 3),
    ],
)
def test_a_lasting_fault_is_a_typed_failure(fault: Fault, problem: Problem, requests: int, calls: Calls) -> None:
    with ScriptedOracle(answer, lambda _: fault) as server, pytest.raises(AnswerError) as caught:
        ask(server, calls, attempts=3)
    assert caught.value.problem is problem
    assert len(server.asks) == requests


@pytest.mark.parametrize(
    ("fault", "stop", "words"),
    [
        (Fault.NO_MONEY, Stop.BALANCE, "Top it up"),
        (Fault.NO_QUOTA, Stop.BALANCE, "Top it up"),
        (Fault.BAD_KEY, Stop.CREDENTIALS, "ORACLE_API_KEY"),
        (Fault.NO_MODEL, Stop.UNKNOWN_MODEL, "'scripted'"),
    ],
)
def test_what_no_retry_can_mend_stops_at_once(fault: Fault, stop: Stop, words: str, calls: Calls) -> None:
    with ScriptedOracle(answer, lambda _: fault) as server, pytest.raises(OracleStoppedError, match=words) as caught:
        ask(server, calls)
    assert caught.value.stop is stop
    assert len(server.asks) == 1


def test_the_key_goes_into_the_request_and_nowhere_else(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORACLE_API_KEY", "sk-very-secret")
    with ScriptedOracle(answer, lambda _: Fault.BAD_KEY) as server, pytest.raises(OracleStoppedError) as caught:
        ask(server, calls)
    assert server.asks[0].headers["authorization"] == "Bearer sk-very-secret"
    assert "[key]" in str(caught.value)
    written = calls.path.read_text(encoding="utf-8") + str(caught.value) + "".join(capfd.readouterr())
    assert "sk-very-secret" not in written


@pytest.mark.parametrize("stand_in", ["1", "choices", "none"])
def test_what_stands_in_for_a_key_is_not_cut_out_of_answers(
    stand_in: str, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command itself says: to any text where the server asks for none."""
    monkeypatch.setenv("ORACLE_API_KEY", stand_in)
    with ScriptedOracle(answer) as server:
        ask(server, calls, attempts=1)
    assert "[key]" not in calls.path.read_text(encoding="utf-8")
    assert server.account.calls == 1


def test_a_remote_endpoint_without_a_key_is_refused(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORACLE_API_KEY", raising=False)
    with pytest.raises(SettingError, match="ORACLE_API_KEY"):
        Oracle(make_endpoint("openai"), calls)


def test_a_server_without_schemas_is_asked_in_words(calls: Calls) -> None:
    def refuses(each: Ask) -> Fault | None:
        return Fault.NO_SCHEMA if each.body.get("response_format", {}).get("type") == "json_schema" else None

    with ScriptedOracle(answer, refuses) as server:
        ask(server, calls, "one", "two")
    assert [each.body.get("response_format", {}).get("type") for each in server.asks] == [
        "json_schema", "json_object", "json_object",
    ]  # fmt: skip
    assert "JSON Schema" in server.asks[1].body["messages"][-1]["content"]


def test_ac22_the_budget_holds(calls: Calls) -> None:
    with ScriptedOracle(answer) as server:
        with pytest.raises(OracleStoppedError, match="--budget") as caught:
            ask(server, calls, *map(str, range(50)), budget=0.002, max_output_tokens=100)
        assert caught.value.stop is Stop.BUDGET
        assert 0 < server.account.calls < 50
        assert server.account.usd <= 0.002


def test_a_budget_needs_prices(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORACLE_API_KEY", "x")
    with pytest.raises(SettingError, match="--price-in"):
        Oracle(make_endpoint(None, "https://api.example.org/v1", "unheard-of"), calls, budget_usd=1.0)


def test_requests_are_spaced_and_counted_by_the_day(calls: Calls) -> None:
    with ScriptedOracle(answer) as server:
        ask(server, calls, "one", "two", "three", requests_per_minute=600.0)
        assert server.asks[2].at - server.asks[0].at >= 0.15
        with pytest.raises(OracleStoppedError, match="daily limit is 3"):
            ask(server, calls, "four", requests_per_day=3)
        assert len(server.asks) == 3


def test_concurrency_is_bounded_and_nobody_answering_ends_the_job(calls: Calls) -> None:
    async def run(server: ScriptedOracle, **settings: Any) -> int:
        endpoint = make_endpoint(None, server.url, "scripted", *PRICES, concurrency=3, backoff=0.01, **settings)
        async with Oracle(endpoint, calls) as oracle:

            async def work(text: str) -> Reply[Verdict]:
                return await oracle.ask(question(text), Verdict)

            return len([item async for item in each(work, map(str, range(30)), workers=8)])

    with ScriptedOracle(answer, seconds=0.02) as server:
        assert asyncio.run(run(server)) == 30
        assert server.most_under_way == 3
    with ScriptedOracle(answer, lambda _: Fault.BROKEN) as server:
        with pytest.raises(OracleStoppedError) as caught:
            asyncio.run(run(server, temperature=0.5, attempts=1))
        assert caught.value.stop is Stop.UNREACHABLE
        assert len(server.asks) < 30


def test_one_folder_has_one_writer(tmp_path: Path) -> None:
    with Calls(tmp_path), pytest.raises(SettingError, match="another command"), Calls(tmp_path):
        pass


def test_a_reply_without_its_question_is_damage_and_no_crash(tmp_path: Path) -> None:
    with ScriptedOracle(answer) as server, Calls(tmp_path) as calls:
        ask(server, calls)
    lines = calls.path.read_bytes().splitlines(keepends=True)
    calls.path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(SettingError, match="damaged at byte 0"), Calls(tmp_path):
        pass


def test_a_damaged_journal_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text('{"event": "sent"\n{}\n')
    with pytest.raises(SettingError, match="damaged at byte 0"), Calls(tmp_path):
        pass
    assert path.read_text() == '{"event": "sent"\n{}\n'
