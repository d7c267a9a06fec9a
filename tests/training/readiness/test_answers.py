"""Answers: read, written, and refused with the key and what it may be."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tomlkit")

from distilled_filters.errors import SettingError
from distilled_filters.training.readiness.answers import QUESTIONS, Answers, Need, read_answers, write_answers


@pytest.mark.parametrize("name", ["answers.toml", "answers.json"])
def test_answers_survive_writing_and_reading(name: str, tmp_path: Path) -> None:
    answers = Answers(need=Need.COST, articles_per_day=5000, stable=False, reviewed_share=0.1)
    write_answers(tmp_path / name, answers)
    assert read_answers(tmp_path / name) == answers


def test_a_written_file_has_each_answer_under_its_question(tmp_path: Path) -> None:
    write_answers(tmp_path / "answers.toml", Answers(owner=True))
    assert (tmp_path / "answers.toml").read_text() == f"# {QUESTIONS['owner']}\nowner = true\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('need = "money"', r"need: .*'format'.*not 'money'"),
        ("reviewed_share = 12", r"reviewed_share: .*1 or less, not 12"),
        ("labelling_usd = -1", r"labelling_usd"),
        ("labeling_usd = 1", r"labeling_usd: unknown key.*the keys are need, .*labelling_usd"),
        ("need = ", "neither readable TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_key_and_remedy(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "answers.toml").write_text(text)
    with pytest.raises(SettingError, match=message):
        read_answers(tmp_path / "answers.toml")


def test_a_missing_file_names_the_questionnaire(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--questionnaire --answers"):
        read_answers(tmp_path / "absent.toml")


def test_every_question_is_a_question() -> None:
    assert all(text.endswith("?") for text in QUESTIONS.values())
