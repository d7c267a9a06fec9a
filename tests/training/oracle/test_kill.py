"""AC22: a labelling job that is killed goes on with no call repeated and none lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("openai")

from examples.walkthrough.server import Ask, Fault, ScriptedOracle
from tests.training.oracle.conftest import arguments, articles, judge, read, write

ARTICLES, CONCURRENCY = 500, 16
FAULTS = [Fault.RATE_LIMIT, Fault.BROKEN, Fault.DROPPED, Fault.TRUNCATED, Fault.WRONG_SCHEMA, Fault.WORDS]


def tenth(ask: Ask) -> Fault | None:
    """One question in ten goes wrong when it is first asked; a repair does not."""
    draw = int(ask.key[:8], 16)
    if draw % 10 or ask.seen or len(ask.body["messages"]) > 1:
        return None
    return FAULTS[draw // 10 % len(FAULTS)]


@pytest.mark.slow
def test_ac22_two_kills_and_a_tenth_of_faults_lose_and_repeat_nothing(tmp_path: Path) -> None:
    source, output = write(tmp_path / "articles.jsonl", articles(ARTICLES)), tmp_path / "labels"
    journal = output / "raw" / "calls.jsonl"
    with ScriptedOracle(judge, tenth, seconds=0.02) as server:
        command = [sys.executable, "-m", "distilled_filters", "label", *arguments(server.url, source, output)]
        command += ["--concurrency", str(CONCURRENCY), "--json"]

        def begin() -> subprocess.Popen[bytes]:
            environment = {**os.environ, "ORACLE_API_KEY": "sk-none"}
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)

        kept: list[tuple[set[str], int]] = []
        for threshold in (150, 330):
            process = begin()
            while server.account.calls < threshold:
                assert process.poll() is None, process.communicate()
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kept.append((replied(journal), len(server.asks)))
        # A write that the kill cut short.
        with journal.open("a") as file:
            file.write('{"event": "reply", "call": "3f')
        out, err = begin().communicate()
        report = json.loads(out)

    assert report["stopped"] is None, err
    labels = read(output / "labels.jsonl")
    assert sorted(row["id"] for row in labels) == sorted(f"article-{number}" for number in range(ARTICLES))
    for replies, asked in kept:
        assert len(replies) > 0
        assert not replies & {ask.key for ask in server.asks[asked:]}, "a call was repeated whose reply was kept"
    spent, account = report["spending"], server.account
    assert (spent["calls"], spent["tokens"]["prompt"], spent["tokens"]["output"]) == (
        account.calls, account.prompt, account.output,
    )  # fmt: skip
    assert spent["usd"] == pytest.approx(account.usd, abs=1e-6)
    # Only what was under way when it was killed, or dropped on the way, is in doubt.
    dropped = sum(tenth(ask) is Fault.DROPPED for ask in server.asks)
    assert spent["in_doubt"]["calls"] <= 2 * CONCURRENCY + dropped
    assert {tenth(ask) for ask in server.asks} == {None, *FAULTS}
    assert account.calls > ARTICLES


def replied(journal: Path) -> set[str]:
    events = [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]]
    return {event["call"] for event in events if event["event"] == "reply"}
