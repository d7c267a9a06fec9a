"""A student comes nearer to its teacher; the teacher is asked once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

from distilled_filters.errors import SettingError  # noqa: E402
from distilled_filters.preprocess import Preprocessor  # noqa: E402
from distilled_filters.training import distil  # noqa: E402
from distilled_filters.training.base import tokenizer_file  # noqa: E402
from distilled_filters.training.data import (  # noqa: E402
    read_examples,
    read_lenses,
    select,
    shared_preprocessing,
)
from distilled_filters.training.train import Recipe, train  # noqa: E402
from distilled_filters.training.weights import finished_student  # noqa: E402
from tests.conftest import rows  # noqa: E402
from tests.training.conftest import Workshop  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def _windows(workshop: Workshop, split: str) -> list[Any]:
    lenses = read_lenses(workshop.filters)
    tokenizer = Tokenizer.from_file(str(tokenizer_file(str(workshop.base))))
    examples = read_examples(workshop.data, lenses, Preprocessor(shared_preprocessing(lenses), tokenizer))
    return [example.window for example in select(examples, split)]


def test_a_shallow_student_comes_near_to_its_teacher(workshop: Workshop, tmp_path: Path) -> None:
    """On articles that neither has seen, and taught by nothing else: labels have no share of this loss."""
    lenses, unseen = read_lenses(workshop.filters), _windows(workshop, "test")
    recipe = Recipe(
        base=str(workshop.base), layers=1, epochs=12, head_learning_rate=1e-3, encoder_learning_rate=1e-3,
        evaluate_every=200, bf16=False, teacher=str(workshop.run), distil_weight=1,
    )  # fmt: skip
    run = train(recipe, workshop.data, workshop.filters, tmp_path)
    expected = distil.answers(finished_student(workshop.run, lenses), unseen)
    distance = (distil.answers(finished_student(run, lenses), unseen) - expected).abs().mean()
    assert distance < 0.5 * (expected.mean(dim=0) - expected).abs().mean()


def test_answers_do_not_depend_on_the_order(workshop: Workshop) -> None:
    teacher, windows = finished_student(workshop.run, read_lenses(workshop.filters)), _windows(workshop, "test")
    found = distil.answers(teacher, windows)
    torch.testing.assert_close(distil.answers(teacher, windows[::-1]).flip(0), found, atol=1e-4, rtol=0)
    assert ((found[:, 0] >= 0) & (found[:, 0] <= 1)).all()
    # Expected scores are at most P(scope) times 10.
    assert (found[:, 1:7] <= found[:, :1] * 10).all()


def test_kept_answers_go_on_after_the_last_whole_file(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distil, "_SHARD", 16)
    teacher, windows = finished_student(workshop.run, read_lenses(workshop.filters)), _windows(workshop, "test")
    expected = distil.kept_answers(teacher, windows, tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) == -(-len(windows) // 16)
    asked: list[int] = []
    answers = distil.answers

    def counted(student: Any, some: Any) -> Any:
        asked.append(len(some))
        return answers(student, some)

    monkeypatch.setattr(distil, "answers", counted)
    files[1].unlink()
    assert torch.equal(distil.kept_answers(teacher, windows, tmp_path), expected)
    assert asked == [16]


def test_unlabelled_articles_are_learnt_from_the_teacher(workshop: Workshop, tmp_path: Path) -> None:
    articles = rows(workshop.data / "articles.jsonl")[:30]
    fresh = [{**row, "content": " ".join(reversed(row["content"].split()))} for row in articles[:20]]
    more = tmp_path / "more.jsonl"
    # Those that have labels or are held out, and those that cannot be scored, are left out.
    more.write_text("".join(json.dumps(row) + "\n" for row in [*fresh, *articles[20:], {"title": "", "content": ""}]))
    recipe = Recipe(
        base=str(workshop.base), layers=1, epochs=1, batch_size=8, bf16=False, evaluate_every=10,
        teacher=str(workshop.run), unlabelled=str(more),
    )  # fmt: skip
    run = train(recipe, workshop.data, workshop.filters, tmp_path / "run")
    kept = [load_file(path)["answers"] for path in sorted((run / "teacher").iterdir())]
    record = json.loads((run / "recipe.json").read_text())
    assert sum(map(len, kept)) == record["rows"] + len(fresh)
    assert record["history"][-1]["step"] == -(-(record["rows"] + len(fresh)) // 8)
    assert all(row["loss"] > 0 for row in record["history"] if "loss" in row)
    assert set(record["data"]["sha256"]) == {"articles.jsonl", "labels.jsonl", "teacher", "unlabelled"}


def test_a_record_without_lenses_is_taken_at_its_head(workshop: Workshop, tmp_path: Path) -> None:
    teacher, lenses = tmp_path / "teacher", read_lenses(workshop.filters)
    shutil.copytree(workshop.run, teacher)
    record = json.loads((teacher / "recipe.json").read_text())
    del record["lenses"]
    (teacher / "recipe.json").write_text(json.dumps(record))
    assert list(finished_student(teacher, lenses).rows) == [lens.name for lens in lenses]
    with pytest.raises(SettingError, match="does not fit a 2-layer encoder with 7 head rows"):
        finished_student(teacher, lenses[:1])


def test_teachers_of_something_else_are_refused(workshop: Workshop, tmp_path: Path) -> None:
    def refused(change: Any, message: str) -> None:
        teacher = tmp_path / "teacher"
        shutil.copytree(workshop.run, teacher, dirs_exist_ok=True)
        record = json.loads((teacher / "recipe.json").read_text())
        change(record)
        (teacher / "recipe.json").write_text(json.dumps(record))
        recipe = Recipe(base=str(workshop.base), epochs=1, bf16=False, teacher=str(teacher))
        with pytest.raises(SettingError, match=message):
            train(recipe, workshop.data, workshop.filters, tmp_path / "run")

    refused(lambda record: record["lenses"][1].update(name="belonging"), "has no head for uplifting")
    refused(lambda record: record["lenses"][1]["dimensions"].reverse(), "other dimensions of uplifting")
    refused(lambda record: record["recipe"].update(layers=1), "does not fit a 1-layer encoder")
    other = tmp_path / "base"
    shutil.copytree(workshop.base, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {word: vocabulary[word] for word in vocabulary if word.startswith("<")}
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(lambda record: record["recipe"].update(base=str(other)), "cannot read 140 training articles, such as")
