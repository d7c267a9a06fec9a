"""`distillery label --batch`: half the price, and a kill makes no batch twice, whoever the provider is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from examples.walkthrough.server import Ask, Fault, ScriptedOracle, write_reply
from tests.training.oracle.batch_servers import KEY, Anthropic, Gemini, Script
from tests.training.oracle.conftest import Label, arguments, articles, judge, read, write

BATCH = ("--batch", "--poll", "0.1", "--json")
Provider = Callable[[ScriptedOracle], tuple[str, ...]]


def openai(server: ScriptedOracle) -> tuple[str, ...]:
    return BATCH


def anthropic(server: ScriptedOracle) -> tuple[str, ...]:
    server.batches = Anthropic(server)
    return (*BATCH, "--preset", "anthropic")


def gemini(server: ScriptedOracle) -> tuple[str, ...]:
    server.batches = Gemini(server)
    return (*BATCH, "--preset", "gemini-flash", "--base-url", server.url.replace("/v1", "/v1beta/openai/"))


every_provider = pytest.mark.parametrize("provider", [openai, anthropic, gemini])
own_protocol = pytest.mark.parametrize("provider", [anthropic, gemini])


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORACLE_API_KEY", KEY)


@every_provider
def test_a_batch_costs_half_and_its_repairs_are_a_second_one(provider: Provider, label: Label, tmp_path: Path) -> None:
    def fault(ask: Ask) -> Fault | None:
        return {2: Fault.WORDS, 4: Fault.TRUNCATED, 5: Fault.BROKEN}.get(ask.number)

    with ScriptedOracle(judge, fault) as server:
        options = provider(server)
        done = label(server, articles(8), *options)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(server.batches.made) == 2
    assert len(server.asks) == 8 + 3
    spent, account = report["spending"], server.account
    assert (spent["calls"], spent["tokens"]["prompt"], spent["tokens"]["output"], spent["tokens"]["thinking"]) == (
        account.calls, account.prompt, account.output, account.thinking,
    )  # fmt: skip
    assert account.calls == 10
    assert spent["usd"] == pytest.approx(account.usd / 2, abs=1e-6)
    assert spent["in_doubt"]["calls"] == 0
    assert len(read(tmp_path / "labels" / "labels.jsonl")) == 8


@own_protocol
def test_replies_are_kept_as_they_came(provider: Provider, label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        options = provider(server)
        report = json.loads(label(server, articles(2), *options, "--reasoning-effort", "low").stdout)
        sent = json.dumps(script(server).requests)
    assert report["spending"]["tokens"]["cached"] == 2 * 20
    events = [json.loads(line) for line in (tmp_path / "labels/raw/calls.jsonl").read_text("utf-8").splitlines()]
    replies = [event["response"]["provider_reply"] for event in events if event["event"] == "reply"]
    assert len(replies) == 2
    assert all("content" in reply or "candidates" in reply for reply in replies)
    assert KEY not in (tmp_path / "labels/raw/calls.jsonl").read_text("utf-8")
    assert "nothing else:" not in sent, "the form of an answer is told by schema, not in words"
    assert '"effort": "low"' in sent or '"thinkingLevel": "low"' in sent


def test_a_thinking_budget_is_what_older_models_take_for_an_effort(label: Label) -> None:
    with ScriptedOracle(judge) as server:
        options = (*gemini(server), "--model", "gemini-2.5-flash", "--reasoning-effort")
        assert label(server, articles(1), *options, "medium", models=()).exit_code == 0
        (request,) = script(server).requests
        assert request["request"]["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 8192}
        refused = label(server, articles(2), *options, "much", models=())
    assert refused.exit_code == 2
    assert "'much' is none of none, minimal, low" in refused.stderr


@every_provider
def test_a_batch_that_was_made_and_not_written_down_is_found_again(
    provider: Provider, label: Label, tmp_path: Path
) -> None:
    state = tmp_path / "labels" / "raw" / "batches.json"
    with ScriptedOracle(judge) as server:
        options = provider(server)
        server.batches.on_create = _break_off
        assert label(server, articles(3), *options).exit_code == 2
        assert json.loads(state.read_text(encoding="utf-8"))[0]["id"] is None
        server.batches.on_create = lambda: None
        refused = label(server, articles(3))
        assert refused.exit_code == 2
        assert "--batch" in refused.stderr
        assert label(server, articles(3), *options).exit_code == 0
        assert len(server.batches.made) == 1
        assert server.account.calls == 3


def test_a_batch_of_somebody_else_with_as_many_requests_is_not_taken(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        options = anthropic(server)
        server.batches.on_create = _break_off
        assert label(server, articles(3), *options).exit_code == 2
        server.batches.on_create = lambda: None
        # Results cut off on the way prove nothing, and must not make a second batch.
        script(server).cut = 1
        assert label(server, articles(3), *options).exit_code == 2
        script(server).foreign(3)
        report = json.loads(label(server, articles(3), *options).stdout)
        assert len(server.batches.made) == 2
    assert (report["labelled_articles"], report["spending"]["calls"], report["spending"]["errors"]) == (3, 3, 0)


@pytest.mark.slow
@every_provider
def test_a_kill_while_waiting_asks_nothing_again(provider: Provider, label: Label, tmp_path: Path) -> None:
    state = tmp_path / "labels" / "raw" / "batches.json"
    with ScriptedOracle(judge) as server:
        options = provider(server)
        server.batches.looks = 10**6
        source = write(tmp_path / "articles.jsonl", articles(3))
        command = [*arguments(server.url, source, tmp_path / "labels"), *options]
        process = subprocess.Popen([sys.executable, "-m", "distilled_filters", "label", *command], env=os.environ)
        while not (state.is_file() and json.loads(state.read_text("utf-8"))[0]["id"]):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        server.batches.looks = 2
        assert label(server, articles(3), *options).exit_code == 0
        assert (len(server.batches.made), server.account.calls) == (1, 3)


@own_protocol
def test_requests_that_end_without_a_reply_are_told_one_by_one(
    provider: Provider, label: Label, tmp_path: Path
) -> None:
    lots = {0: "expired", 1: "errored", 2: "invalid"}
    keys: dict[str, str] = {}

    def spoil(ask: Ask) -> str | None:
        if ask.number in lots:
            keys[ask.key] = lots[ask.number]
        return keys.get(ask.key)

    with ScriptedOracle(judge) as server:
        options = provider(server)
        script(server).spoil = spoil
        done = label(server, articles(14), *options)
        assert done.exit_code == 1, done.stderr
        assert len(server.asks) == 14 + 2, "what is wrong with a request is not mended by sending it again"
        failed = read(tmp_path / "labels" / "failed.jsonl")
        assert [(row["id"], row["reason"]) for row in failed] == [
            ("article-0", "unreachable"), ("article-1", "unreachable"), ("article-2", "bad_request"),
        ]  # fmt: skip
        assert "invalid, says the server" in failed[2]["message"]
        assert len(read(tmp_path / "labels" / "labels.jsonl")) == 11
        keys.clear()
        report = json.loads(label(server, articles(14), *options).stdout)
        assert report["this_run"]["calls"] == 3
        assert report["spending"]["calls"] == server.account.calls == 14


@own_protocol
def test_results_that_were_cut_off_on_the_way_are_read_again(provider: Provider, label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        options = provider(server)
        script(server).cut = 1 + script(server).ahead
        report = json.loads(label(server, articles(4), *options).stdout)
    assert (len(server.asks), report["labelled_articles"], report["spending"]["in_doubt"]["calls"]) == (4, 4, 0)


@own_protocol
def test_a_result_that_nobody_can_read_counts_as_in_doubt(provider: Provider, label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        options = provider(server)
        script(server).cut = 2 + script(server).ahead
        done = label(server, articles(4), *options)
    report = json.loads(done.stdout)
    assert "1 of its results cannot be read" in done.stderr
    assert (len(server.asks), report["labelled_articles"]) == (5, 4)
    assert report["spending"]["in_doubt"]["calls"] == 1
    spent = report["spending"]["usd"] + report["spending"]["in_doubt"]["usd_at_most"]
    assert report["spending"]["usd"] < server.account.usd / 2 <= spent


@own_protocol
def test_a_refused_key_leaves_no_batch_to_wait_for(
    provider: Provider, label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedOracle(judge) as server:
        options = provider(server)
        monkeypatch.setenv("ORACLE_API_KEY", "sk-of-somebody-else")
        done = label(server, articles(3), *options)
        assert (done.exit_code, server.batches.made) == (2, {})
        assert "refuses the key" in done.stderr
        assert json.loads((tmp_path / "labels/raw/batches.json").read_text("utf-8")) == []
        # And so the folder is free for single calls.
        assert label(server, articles(3)).exit_code == 0


def test_a_batch_that_failed_as_a_whole_is_told_and_made_anew(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        options = gemini(server)
        script(server).state = "FAILED"
        done = label(server, articles(3), *options)
        assert done.exit_code == 2
        assert "the batch fell over" in done.stderr
        script(server).state = "SUCCEEDED"
        assert label(server, articles(3), *options).exit_code == 0


@every_provider
def test_a_batch_beyond_the_budget_is_not_made(provider: Provider, label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        options = provider(server)
        done = label(server, articles(3), *options, "--budget", "0.01")
    assert done.exit_code == 2
    assert "--budget" in done.stderr
    assert server.asks == []


def test_the_open_batch_of_another_model_counts_against_the_budget(label: Label, tmp_path: Path) -> None:
    # Of three requests each, at 4,096 tokens an answer and half the price, about $0.065 at most.
    within, beyond = ("--budget", "0.15"), ("--budget", "0.1")
    adjudicating = (*BATCH, "--adjudicate", "third", *within)
    with ScriptedOracle(judge) as server:
        server.batches.on_create = _break_off
        assert label(server, articles(3), *BATCH, *within, models=["one"]).exit_code == 2
        server.batches.on_create = lambda: None
        refused = label(server, articles(3), *BATCH, *beyond, models=["two"])
        alone = label(server, articles(3), *adjudicating, models=[])
        assert len(server.batches.made) == 1
        assert label(server, articles(3), *BATCH, *within, models=["two"]).exit_code == 0
        assert label(server, articles(3), *BATCH, *within, models=["one"]).exit_code == 0
        assert len(server.batches.made) == 2
    assert (refused.exit_code, alone.exit_code) == (2, 2)
    assert "a batch of 3 requests may cost" in refused.stderr
    assert "open batches may cost $0.0" in refused.stderr
    assert "of one; go on with --batch and that --model" in alone.stderr


def test_a_batch_that_is_refused_as_a_whole_says_so_in_the_report(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        options = anthropic(server)
        script(server)._problem = lambda request: "credit card of the wrong colour"
        done = label(server, articles(3), *options)
    assert done.exit_code == 2
    assert json.loads(done.stdout)["stopped"]["reason"] == "bad_request"
    assert f"{server.url} refuses the batch" in done.stderr
    assert "credit card of the wrong colour" in done.stderr
    assert json.loads((tmp_path / "labels/raw/batches.json").read_text("utf-8")) == []


@own_protocol
def test_a_batch_that_the_provider_has_lost_can_be_let_go(provider: Provider, label: Label, tmp_path: Path) -> None:
    state = tmp_path / "labels" / "raw" / "batches.json"
    with ScriptedOracle(judge) as server:
        options = provider(server)
        server.batches.on_create = _break_off
        assert label(server, articles(3), *options).exit_code == 2
        (entry,) = json.loads(state.read_text("utf-8"))
        state.write_text(json.dumps([{**entry, "id": "batches/gone"}]), encoding="utf-8")
        done = label(server, articles(3), *options)
        assert done.exit_code == 2
        assert "does not know the batch batches/gone" in done.stderr
        assert f"take it out of {state}" in " ".join(done.stderr.split())
        state.write_text("[]", encoding="utf-8")
        server.batches.on_create = lambda: None
        assert label(server, articles(3), *options).exit_code == 0


@pytest.mark.parametrize("damage", ["[{", '[{"name": 1}]', "7"])
def test_a_damaged_list_of_batches_is_told(damage: str, label: Label, tmp_path: Path) -> None:
    state = tmp_path / "labels" / "raw" / "batches.json"
    state.parent.mkdir(parents=True)
    state.write_text(damage, encoding="utf-8")
    with ScriptedOracle(judge) as server:
        for options in (BATCH, ()):
            done = label(server, articles(1), *options)
            assert done.exit_code == 2
            assert "batches.json is damaged" in done.stderr
        assert server.asks == []


@own_protocol
def test_a_redirect_does_not_take_the_key_along(provider: Provider, label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as elsewhere, ScriptedOracle(judge) as server:
        provider(elsewhere)
        options = provider(server)

        def send_on(handler: BaseHTTPRequestHandler, content: bytes) -> None:
            write_reply(handler, 307, b"{}", {"Location": elsewhere.url.removesuffix("/v1") + handler.path})

        server.batches.post = send_on  # type: ignore[method-assign]
        done = label(server, articles(1), *options)
        assert done.exit_code == 2
        assert "307" in done.stderr
        assert (elsewhere.batches.made, elsewhere.asks) == ({}, [])


def test_a_temperature_that_is_no_more_is_refused_before_anything_is_sent(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        done = label(server, articles(1), *anthropic(server), "--temperature", "0")
        assert (done.exit_code, server.batches.made) == (2, {})
    assert "take none any more; leave it out" in done.stderr


@pytest.mark.parametrize("preset", ["deepseek", "vllm", "ollama"])
def test_a_provider_without_batches_is_refused(preset: str, label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        done = label(server, articles(1), *BATCH, "--preset", preset)
    assert done.exit_code == 2
    assert f"{server.url} has no batches: leave --batch out" in done.stderr
    assert not (tmp_path / "labels").exists()


def _break_off() -> None:
    raise BrokenPipeError


def script(server: ScriptedOracle) -> Any:
    assert isinstance(server.batches, Script)
    return server.batches
