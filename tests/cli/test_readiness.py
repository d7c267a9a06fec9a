"""`distillery readiness`: what a person sees and is asked, what a program reads, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("datasketch")
pytest.importorskip("phonenumbers")

from distilled_filters.cli.app import app
from distilled_filters.training.readiness import assessment
from distilled_filters.training.readiness.answers import QUESTIONS
from tests.training.prepare.conftest import filters, read
from tests.training.readiness.conftest import ALL_ANSWERS, good_facts, make_data

__all__ = ["filters"]

Readiness = Callable[..., Result]


@pytest.fixture
def readiness(tmp_path: Path, filters: Path) -> Readiness:
    """Run the command on a small data folder."""
    make_data(tmp_path / "data")

    def run(*options: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(
            app, ["readiness", str(tmp_path / "data"), "--filters", str(filters), *options], input=typed
        )

    return run


def test_a_person_sees_checks_points_and_verdict_and_exits_1(readiness: Readiness) -> None:
    done = readiness("--filter", "uplifting")
    assert done.exit_code == 1, done.stderr
    for part in ("examples", "-> label until", "personal data", "`owner`: Does somebody own", "premature: "):
        assert part in done.stdout


def test_a_program_reads_everything(readiness: Readiness, tmp_path: Path) -> None:
    done = readiness("--json", "--report", str(tmp_path / "report"))
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "report" / "readiness.json").read_text(encoding="utf-8"))
    assert document["facts"]["labelled"] == 60
    assert len(document["rubric"]) == 35
    assert (tmp_path / "report" / "index.html").is_file()


def test_justified_exits_0(readiness: Readiness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(assessment, "measure", lambda *_: good_facts())
    (tmp_path / "answers.json").write_text(ALL_ANSWERS.model_dump_json())
    done = readiness("--answers", str(tmp_path / "answers.json"))
    assert done.exit_code == 0, done.stderr
    assert "justified: 35 of 35 points" in done.stdout


def test_the_questionnaire_asks_again_after_nonsense_and_keeps_answers(readiness: Readiness, tmp_path: Path) -> None:
    path = tmp_path / "answers.toml"
    typed = ["money", "cost", "yes", "5000", *[""] * (len(QUESTIONS) - 3)]
    done = readiness("--questionnaire", "--answers", str(path), "--no-pii", typed="\n".join(typed) + "\n")
    assert done.exit_code == 1, done.stderr
    assert "must be 'format'" in done.stderr
    assert path.read_text(encoding="utf-8").count("# ") == 3
    assert "articles_per_day = 5000" in path.read_text(encoding="utf-8")
    again = readiness("--questionnaire", "--answers", str(path), "--no-pii", typed="\n" * len(QUESTIONS))
    assert QUESTIONS["need"] not in again.stderr
    assert QUESTIONS["owner"] in again.stderr


def test_leaving_the_questionnaire_keeps_what_was_said_and_exits_2(readiness: Readiness, tmp_path: Path) -> None:
    path = tmp_path / "answers.toml"
    done = readiness("--questionnaire", "--answers", str(path), typed="latency\n")
    assert done.exit_code == 2
    assert "has the answers so far" in done.stderr.replace("\n", " ")
    assert 'need = "latency"' in path.read_text(encoding="utf-8")


def test_a_masked_copy_is_written(readiness: Readiness, tmp_path: Path) -> None:
    done = readiness("--mask", str(tmp_path / "masked.jsonl"))
    assert f"written: {tmp_path / 'masked.jsonl'}" in done.stderr.replace("\n", "")
    assert read(tmp_path / "masked.jsonl")[0]["content"].endswith("Write to [EMAIL] or call [PHONE].")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--filter", "uplift"), "no lens uplift"),
        (("--labels", "absent.jsonl"), "there is no file absent.jsonl"),
        (("--answers", "absent.toml"), "there is no file absent.toml"),
        (("--curve",), "a learning curve needs"),
    ],
)
def test_what_cannot_be_read_exits_2_in_one_line(readiness: Readiness, options: tuple[str, ...], message: str) -> None:
    done = readiness(*options)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stdout == ""
