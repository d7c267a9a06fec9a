"""`distillery label` from articles to labels: what is written, what fails and why, what several oracles say."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

pytest.importorskip("openai")

from examples.walkthrough.server import Ask, Fault, ScriptedOracle
from tests.conftest import FILTERS
from tests.training.oracle.conftest import LENS, NAMES, OUT_OF_SCOPE, Label, answer, articles, judge, read, write


def test_labels_are_what_prepare_reads(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        done = label(server, articles(5))
    assert done.exit_code == 0, done.stderr
    rows = read(tmp_path / "labels" / "labels.jsonl")
    assert [row["id"] for row in rows] == [f"article-{number}" for number in range(5)]
    for row in rows:
        assert (row["filter"], row["oracle"], row["prompt_sha256"]) == ("uplifting", "one", LENS.prompt_sha256)
        assert tuple(row["dimensions"]) == tuple(row["evidence"]) == NAMES
        assert row["in_scope"] == any(row["dimensions"].values())
        assert row["unverified"] == []
    pytest.importorskip("datasketch")
    from distilled_filters.training.data import read_lenses
    from distilled_filters.training.prepare.rows import read_labels

    lenses = {lens.name: lens for lens in read_lenses(FILTERS)}
    good, bad = read_labels([tmp_path / "labels" / "labels.jsonl"], lenses, None)
    assert (len(good), bad) == (5, [])


def test_the_second_run_asks_nothing_and_writes_the_same(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        label(server, articles(4), "--runs", "2")
        first = (tmp_path / "labels" / "labels.jsonl").read_bytes()
        assert len(server.asks) == 8
        done = label(server, articles(4), "--runs", "2", "--json")
        assert len(server.asks) == 8
    assert json.loads(done.stdout)["this_run"] == {"calls": 0, "usd": 0.0}
    assert (tmp_path / "labels" / "labels.jsonl").read_bytes() == first


def test_the_oracle_reads_what_the_spec_says(label: Label, tmp_path: Path) -> None:
    words = [f"word{number}" for number in range(1000)]
    rows = [{"id": "long", "title": "Long", "content": f"<p>{' '.join(words)}</p>"}]
    with ScriptedOracle(lambda ask: answer([0.0] * len(NAMES), "")) as server:
        label(server, rows)
    shown = server.asks[0].body["messages"][0]["content"].split("Title: Long\n\n")[1].strip()
    assert shown == " ".join([*words[:300], LENS.preprocessing.separator, *words[-100:]])


def test_what_cannot_be_judged_is_told_and_costs_nothing(label: Label, tmp_path: Path) -> None:
    twice = articles(1)[0]
    rows = [
        twice,
        twice,
        {**twice, "content": "Other. " * 30},
        {"id": "short", "content": "Hm."},
        {"content": "x" * 99},
    ]
    with ScriptedOracle(judge) as server:
        done = label(server, rows)
    assert done.exit_code == 1
    assert len(server.asks) == 1
    failed = {row["reason"] for row in read(tmp_path / "labels" / "failed.jsonl")}
    assert failed == {"conflicting_rows", "too_short", "no_id"}


def test_two_articles_of_one_text_are_one_call(label: Label, tmp_path: Path) -> None:
    one = articles(1)[0]
    with ScriptedOracle(judge, seconds=0.1) as server:
        label(server, [one, {**one, "id": "copy"}])
    assert len(server.asks) == 1
    assert [row["id"] for row in read(tmp_path / "labels" / "labels.jsonl")] == ["article-0", "copy"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer([5.0] * 6, "The mayor wept"), "word for word"),
        (answer([5.0] * 6, ""), "no quote"),
        (answer([5.0] * 6, "", in_scope=False), "in_scope is false"),
    ],
)
def test_an_answer_that_does_not_hold_is_sent_back_then_fails(
    said: dict[str, Any], words: str, label: Label, tmp_path: Path
) -> None:
    with ScriptedOracle(lambda _: said) as server:
        done = label(server, articles(1))
    assert done.exit_code == 1
    assert words in server.asks[1].body["messages"][-1]["content"]
    (row,) = read(tmp_path / "labels" / "failed.jsonl")
    assert row["reason"] == "unfaithful"
    assert words in row["message"]


def test_flagged_quotes_are_kept_and_named(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(lambda _: answer([5.0] * 6, "The mayor wept")) as server:
        assert label(server, articles(1), "--quotes", "flag").exit_code == 0
    (row,) = read(tmp_path / "labels" / "labels.jsonl")
    assert row["unverified"] == list(NAMES)


def test_a_failure_is_paid_again_only_when_asked(label: Label, tmp_path: Path) -> None:
    refusing = [True]

    def fault(ask: Ask) -> Fault | None:
        return Fault.REFUSAL if refusing[0] else None

    with ScriptedOracle(judge, fault) as server:
        for options, asked, failed in (((), 1, 1), ((), 1, 1), (("--retry-failed",), 2, 0), ((), 2, 0)):
            label(server, articles(1), *options)
            assert len(server.asks) == asked
            assert len(read(tmp_path / "labels" / "failed.jsonl")) == failed
            refusing[0] = False
    assert len(read(tmp_path / "labels" / "labels.jsonl")) == 1


def test_an_empty_account_stops_cleanly_and_the_next_run_goes_on(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge, lambda ask: Fault.NO_MONEY if ask.number >= 6 else None) as server:
        done = label(server, articles(20), "--concurrency", "2")
        assert done.exit_code == 2
        assert "Top it up" in done.stderr
        assert len(server.asks) <= 8
        assert len(read(tmp_path / "labels" / "labels.jsonl")) == 6
        server.fault = lambda ask: None
        assert label(server, articles(20)).exit_code == 0
        assert server.account.calls == 20
    assert len(read(tmp_path / "labels" / "labels.jsonl")) == 20


def test_the_report_is_the_servers_own_count(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge, lambda ask: Fault.WORDS if ask.number == 3 else None) as server:
        report = json.loads(label(server, articles(10), "--json").stdout)
    spent, account = report["spending"], server.account
    assert (spent["calls"], spent["errors"], spent["in_doubt"]["calls"]) == (account.calls, 0, 0) == (11, 0, 0)
    assert spent["tokens"] == {
        "prompt": account.prompt, "cached": 0, "output": account.output, "thinking": account.thinking,
    }  # fmt: skip
    assert spent["usd"] == pytest.approx(account.usd, abs=1e-6)
    assert report == json.loads((tmp_path / "labels" / "label.json").read_text(encoding="utf-8"))


def test_several_oracles_agree_or_a_third_decides_blind(label: Label, tmp_path: Path) -> None:
    def say(ask: Ask) -> dict[str, Any]:
        tilt = 6.0 if ask.body["model"] == "two" and "no. 3" in ask.text else 0.0
        return judge(ask, tilt)

    rows = [{**row, "title": f"{row['title']} no. 3"} if number == 0 else row for number, row in enumerate(articles(8))]
    rows = [row for row in rows if random.Random(row["title"]).random() >= OUT_OF_SCOPE]
    with ScriptedOracle(say) as server:
        report = json.loads(label(server, rows, "--json", models=("one", "two")).stdout)
        (pair,) = report["agreement"]
        assert pair["oracles"] == ["one", "two"]
        assert pair["pairs"] == len(rows)
        assert pair["tier_agreement"] < 1
        assert set(pair["dimensions"]) == set(NAMES)
        before = len(server.asks)
        done = label(server, rows, "--adjudicate", "three", "--json", models=())
        asked = server.asks[before:]
    assert done.exit_code == 0, done.stderr
    assert {ask.body["model"] for ask in asked} == {"three"}
    text = asked[0].text
    assert "Reading A" in text
    assert not {"one:", "two:", '"one"', '"two"'} & set(text.split())
    labels = read(tmp_path / "labels" / "labels.jsonl")
    settled = [row for row in labels if "adjudicates" in row]
    assert len(settled) == len(asked) >= 1
    assert {row["oracle"] for row in settled} == {"three"}
    others = [row["id"] for row in labels if "adjudicates" not in row]
    assert not {row["id"] for row in settled} & set(others)
    assert len(read(tmp_path / "labels" / "readings.jsonl")) == 2 * len(rows)


def test_adjudication_is_told_and_agreed_on_before_it_is_paid(label: Label, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from distilled_filters.cli.app import app
    from tests.training.oracle.conftest import arguments

    def say(ask: Ask) -> dict[str, Any]:
        return judge(ask, 6.0 if ask.body["model"] == "two" else 0.0)

    rows, folder = articles(8), tmp_path / "labels"
    with ScriptedOracle(say) as server:
        label(server, rows, models=("one", "two"))
        before = len(server.asks)
        line = ["label", *arguments(server.url, tmp_path / "articles.jsonl", folder, ("one", "two"))]
        line = [part for part in line if part != "--yes"]
        # As after a kill, which leaves the folder behind the journal.
        (folder / "readings.jsonl").unlink()
        done = CliRunner().invoke(app, [*line, "--adjudicate", "three"])
        assert (done.exit_code, len(server.asks)) == (2, before)
        assert "say --yes" in done.stderr
        told = int(done.stderr.split(" questions to ask")[0].split()[-1])
        paid = CliRunner().invoke(app, [*line, "--adjudicate", "three", "--yes"])
        assert paid.exit_code == 0, paid.stderr
        assert len(server.asks) - before == told >= 1
        again = CliRunner().invoke(app, [*line, "--adjudicate", "three"])
        assert (again.exit_code, len(server.asks) - before) == (0, told), "what is settled needs no consent"


@pytest.mark.parametrize("name", ["readings.jsonl", "label.json"])
def test_a_damaged_view_is_named_and_written_again_from_the_journal(name: str, label: Label, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    with ScriptedOracle(judge) as server:
        label(server, articles(3))
        before = (folder / "labels.jsonl").read_bytes()
        (folder / name).write_text("{bad", encoding="utf-8")
        done = label(server, articles(3))
        assert done.exit_code == 2
        assert f"{name} is damaged" in " ".join(done.stderr.split())
        for path in folder.iterdir():
            if path.is_file():
                path.unlink()
        assert label(server, articles(3)).exit_code == 0
        assert len(server.asks) == 3
    assert (folder / "labels.jsonl").read_bytes() == before


def test_one_folder_holds_one_prompt(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        label(server, articles(1))
        record = tmp_path / "labels" / "label.json"
        record.write_text(record.read_text(encoding="utf-8").replace(LENS.prompt_sha256, "0" * 64), encoding="utf-8")
        done = label(server, articles(1))
    assert done.exit_code == 2
    assert "another prompt_sha256" in done.stderr


def test_a_folder_in_which_nothing_was_asked_is_free_for_a_sharper_prompt(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge) as server:
        assert label(server, articles(1), "--budget", "0").exit_code == 2
        record = tmp_path / "labels" / "label.json"
        earlier = record.read_text(encoding="utf-8").replace(LENS.prompt_sha256, "0" * 64)
        record.write_text(earlier, encoding="utf-8")
        assert label(server, articles(1)).exit_code == 0
    assert LENS.prompt_sha256 in record.read_text(encoding="utf-8")


def test_nobody_spends_without_being_told(label: Label, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from distilled_filters.cli.app import app
    from tests.training.oracle.conftest import arguments, write

    with ScriptedOracle(judge) as server:
        source = write(tmp_path / "articles.jsonl", articles(2))
        given = [part for part in arguments(server.url, source, tmp_path / "labels") if part != "--yes"]
        done = CliRunner().invoke(app, ["label", *given])
        assert (done.exit_code, server.asks) == (2, [])
        assert "--yes" in done.stderr
        assert "about $" in done.stderr
        with patch("distilled_filters.cli.asking.sys") as terminal:
            terminal.stdin.isatty.return_value = terminal.stderr.isatty.return_value = True
            done = CliRunner().invoke(app, ["label", *given], input="n\n")
        assert (done.exit_code, server.asks) == (2, [])
        assert "nothing was asked" in done.stderr
        assert CliRunner().invoke(app, ["label", *given, "--budget", "1"]).exit_code == 0


def test_labelling_needs_no_library_of_training(tmp_path: Path) -> None:
    blocked = "torch transformers sklearn scipy datasketch tomlkit jinja2 matplotlib accelerate onnx pandas pyarrow"
    code = f"""
import sys
sys.modules.update(dict.fromkeys({blocked.split()!r}))
import distilled_filters.training.scaffold, distilled_filters.training.oracle.label
from typer.testing import CliRunner
from distilled_filters.cli.app import app
line = ["label", "-f", "uplifting", "--filters", {str(FILTERS)!r}, "-s", "absent.jsonl", "-o", {str(tmp_path)!r}]
done = CliRunner().invoke(app, [*line, "--preset", "ollama", "--model", "any"])
assert "there is no file absent.jsonl" in done.stderr, done.stderr
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--preset", "openai", "--base-url", "https://example.org/v1"),
        ("--filter", "nonesuch"),
        ("--source", "/no/such/file.jsonl"),
    ],
)
def test_a_job_that_is_refused_leaves_no_folder(
    options: tuple[str, ...], label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORACLE_API_KEY", raising=False)
    with ScriptedOracle(judge) as server:
        done = label(server, articles(1), *options)
    assert done.exit_code == 2
    assert not (tmp_path / "labels").exists()


def test_labels_of_another_prompt_are_left_as_they_are(label: Label, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    write(folder / "labels.jsonl", [{"id": "a"}])
    with ScriptedOracle(judge) as server:
        assert label(server, articles(1)).exit_code == 2
    assert [path.name for path in folder.iterdir()] == ["labels.jsonl"]


def test_failures_of_articles_that_are_gone_are_gone_too(label: Label, tmp_path: Path) -> None:
    with ScriptedOracle(judge, lambda ask: Fault.REFUSAL if "no. 0" in ask.text else None) as server:
        assert label(server, articles(2)).exit_code == 1
        assert [row["id"] for row in read(tmp_path / "labels" / "failed.jsonl")] == ["article-0"]
        done = label(server, articles(3)[1:], "--json")
        assert done.exit_code == 0, done.stderr
        assert read(tmp_path / "labels" / "failed.jsonl") == []
        # Whoever brings the article back has its failure again, for nothing.
        assert label(server, articles(3), "--json").exit_code == 1
        assert len(server.asks) == 3
