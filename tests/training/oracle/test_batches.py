"""`distillery label --batch`: half the price, and a kill makes no batch twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("openai")

from examples.walkthrough.server import Ask, Fault, ScriptedOracle
from tests.training.oracle.conftest import Label, articles, judge, read

BATCH = ("--batch", "--poll", "0.1", "--json")


def test_a_batch_costs_half_and_its_repairs_are_a_second_one(label: Label, tmp_path: Path) -> None:
    def fault(ask: Ask) -> Fault | None:
        return {2: Fault.WORDS, 5: Fault.BROKEN}.get(ask.number)

    with ScriptedOracle(judge, fault) as server:
        done = label(server, articles(8), *BATCH)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert [batch["status"] for batch in server.batches.made.values()] == ["completed"] * 2
    assert len(server.asks) == 8 + 2
    assert report["spending"]["calls"] == server.account.calls == 9
    assert report["spending"]["usd"] == pytest.approx(server.account.usd / 2, abs=1e-6)
    assert len(read(tmp_path / "labels" / "labels.jsonl")) == 8


def test_a_batch_that_was_made_and_not_written_down_is_found_again(label: Label, tmp_path: Path) -> None:
    def kill() -> None:
        raise BrokenPipeError

    state = tmp_path / "labels" / "raw" / "batches.json"
    with ScriptedOracle(judge) as server:
        server.batches.on_create = kill
        assert label(server, articles(3), *BATCH).exit_code == 2
        assert json.loads(state.read_text(encoding="utf-8"))[0]["id"] is None
        server.batches.on_create = lambda: None
        refused = label(server, articles(3))
        assert refused.exit_code == 2
        assert "--batch" in refused.stderr
        assert label(server, articles(3), *BATCH).exit_code == 0
        assert len(server.batches.made) == 1
        assert server.account.calls == 3


def test_a_batch_beyond_the_budget_is_not_made(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        done = label(server, articles(3), *BATCH, "--budget", "0.01")
    assert done.exit_code == 2
    assert "--budget" in done.stderr
    assert server.asks == []
