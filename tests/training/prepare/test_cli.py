"""`distillery prepare`: what a person sees, what a program reads, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("datasketch")

from distilled_filters.cli.app import app
from tests.training.prepare.conftest import LENS, SCORES, article, label, text, write

Prepare = Callable[..., Result]


@pytest.fixture
def prepare(tmp_path: Path, filters: Path) -> Prepare:
    """Run the command on 30 labelled articles and a line that is none where `bad`, or on `articles`."""

    def run(*options: str, bad: bool = False, articles: list[Any] | None = None) -> Result:
        names = [f"row-{number}" for number in range(30)]
        rows = articles or [*map(article, names), *(["{"] if bad else [])]
        source = write(tmp_path / "articles.jsonl", rows)
        labels = write(tmp_path / "labels.jsonl", [label(name, {LENS: SCORES}) for name in names])
        where = ("--output", str(tmp_path / "data"), "--filters", str(filters))
        return CliRunner().invoke(app, ["prepare", str(source), "--labels", str(labels), *where, *options])

    return run


def test_a_person_sees_splits_lenses_and_rejections(prepare: Prepare, tmp_path: Path) -> None:
    done = prepare(bad=True)
    assert done.exit_code == 0, done.stderr
    for part in ("train", "uplifting", "rejected article: not_json: 1", "DATA.md"):
        assert part in done.stdout


def test_a_program_reads_the_card(prepare: Prepare, tmp_path: Path) -> None:
    done = prepare("--json", "--seed", "3")
    card = json.loads(done.stdout)
    assert card == json.loads((tmp_path / "data" / "data.json").read_text(encoding="utf-8"))
    assert card["settings"]["seed"] == 3
    assert "--seed 3" in card["command"]
    assert str(tmp_path / "data") not in card["command"]


def test_strict_exits_1_for_a_rejected_row_and_still_writes(prepare: Prepare, tmp_path: Path) -> None:
    assert prepare("--strict").exit_code == 0
    done = prepare("--strict", bad=True)
    assert done.exit_code == 1
    assert (tmp_path / "data" / "rejected.jsonl").stat().st_size > 0


def test_a_leak_exits_2_and_names_the_pair(prepare: Prepare, tmp_path: Path) -> None:
    words = text(4)
    rows = [article("here", content=words, split="train"), article("there", content=words, split="test")]
    done = prepare("--keep-splits", articles=rows)
    assert done.exit_code == 2
    assert "here (train) and there (test), similarity 1.00" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_mix_is_held_in_training_alone(prepare: Prepare, tmp_path: Path) -> None:
    rows = [
        article(f"row-{n}", content=text(n), stratum="synthetic" if n < 15 else "natural", language="en")
        for n in range(30)
    ]
    done = prepare("--mix", "80/20", "--json", articles=rows)
    assert done.exit_code == 0, done.stderr
    card = json.loads(done.stdout)
    train, mix = card["splits"]["train"], card["mix"]
    assert (mix["real"], mix["synthetic"]) == (train["articles"] - train["synthetic"], train["synthetic"])
    assert mix["synthetic"] == mix["real"] // 4
    left_out = (tmp_path / "data" / "left_out.jsonl").read_text(encoding="utf-8").splitlines()
    labels = (tmp_path / "data" / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(left_out) == mix["left_out"] == 30 - len(labels) > 0
    assert all(json.loads(row)["stratum"] == "synthetic" for row in left_out)
    assert "--mix 80/20" in card["command"]
    assert "left_out.jsonl" in (tmp_path / "data" / "DATA.md").read_text(encoding="utf-8")


def test_dropping_real_articles_goes_with_a_mix(prepare: Prepare) -> None:
    assert prepare("--drop-real").exit_code == 2
