"""Every bad row is rejected with its line, its value and a remedy; none is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasketch")

from distilled_filters.training.prepare import Settings, prepare
from tests.training.prepare.conftest import LENS, SCORES, article, label, read, write

ONE_LENS = {LENS: SCORES}


Prepared = Callable[[list[Any], list[Any]], list[dict[str, Any]]]


@pytest.fixture
def rejected(tmp_path: Path, filters: Path) -> Prepared:
    """Prepare two good rows and the given ones; return the rejected rows."""

    def run(articles: list[Any], labels: list[Any]) -> list[dict[str, Any]]:
        good = [article("good-1"), article("good-2")]
        sources = [write(tmp_path / "articles.jsonl", [*good, *articles])]
        named = [write(tmp_path / "labels.jsonl", [label("good-1", ONE_LENS), label("good-2"), *labels])]
        prepare(sources, named, tmp_path / "data", filters, Settings(), "test")
        assert {row["id"] for row in read(tmp_path / "data" / "articles.jsonl")} >= {"good-1", "good-2"}
        return read(tmp_path / "data" / "rejected.jsonl")

    return run


@pytest.mark.parametrize(
    ("row", "reason", "told"),
    [
        ('{"id": "x", "content": ', "not_json", "line 3 of"),
        ("[1, 2]", "not_json", "list [1, 2]"),
        ({"title": "t", "content": "c " * 60}, "no_id", "id is None"),
        ({**article("x1"), "id": "  "}, "no_id", "'  '"),
        ({**article("x1"), "content": None}, "invalid", "no 'content'"),
        ({**article("x1"), "content": 7}, "invalid", "not int"),
        ({**article("x1"), "content": ""}, "no_content", "empty"),
        ({**article("x1"), "title": "", "content": "Too little."}, "too_short", "11 characters"),
        ({**article("x1"), "language": ["en"]}, "invalid_field", "language is ['en']"),
    ],
)
def test_a_bad_article_is_rejected_with_its_line_and_value(
    row: object, reason: str, told: str, rejected: Prepared, tmp_path: Path
) -> None:
    (found,) = rejected([row], [])
    assert (found["kind"], found["reason"], found["line"]) == ("article", reason, 3)
    assert told in found["message"]
    assert found["file"].endswith("articles.jsonl")
    assert found["record"] == (tmp_path / "articles.jsonl").read_text(encoding="utf-8").splitlines()[2]


@pytest.mark.parametrize(
    ("row", "reason", "told"),
    [
        ("{", "not_json", "line 3 of"),
        ({"runs": [{}]}, "no_id", "id is None"),
        ({"id": "good-2"}, "no_reading", "neither 'runs' nor 'dimensions'"),
        ({"id": "good-2", "runs": []}, "no_reading", "runs is []"),
        (label("good-2", {"upliftin": SCORES}), "unknown_lens", "did you mean 'uplifting'?"),
        (label("good-2", {LENS: [1, 2, 3]}), "wrong_dimensions", "[1, 2, 3]"),
        (label("good-2", {LENS: [11, *SCORES[1:]]}), "invalid_score", "is 11;"),
        (label("good-2", {LENS: [-0.5, *SCORES[1:]]}), "invalid_score", "is -0.5;"),
        (label("good-2", {LENS: [float("nan"), *SCORES[1:]]}), "invalid_score", "is nan;"),
        (label("good-2", {LENS: ["5", *SCORES[1:]]}), "invalid_score", "is '5';"),
        (label("good-2", {LENS: [True, *SCORES[1:]]}), "invalid_score", "is True;"),
        ({"id": "good-2", "filter": LENS, "dimensions": {"joy": 3}}, "wrong_dimensions", "{'joy': 3}"),
        ({"id": "good-2", "dimensions": {"joy": 3}}, "unknown_lens", "--filter NAME"),
        (label("absent", {}), "no_article", "'absent'"),
    ],
)
def test_a_bad_label_is_rejected_with_its_line_and_value(
    row: object, reason: str, told: str, rejected: Prepared, tmp_path: Path
) -> None:
    (found,) = rejected([], [row])
    assert (found["kind"], found["reason"], found["line"]) == ("label", reason, 3)
    assert told in found["message"]


def test_one_id_with_two_contents_is_rejected_whole(rejected: Prepared, tmp_path: Path) -> None:
    """Nobody knows which of the two the label means; the label is in the rejected rows too."""
    found = rejected([article("x", seed=1), article("x", seed=2)], [label("x", ONE_LENS)])
    assert [(row["kind"], row["reason"]) for row in found] == [
        ("article", "conflicting_rows"), ("article", "conflicting_rows"), ("label", "article_rejected"),
    ]  # fmt: skip
    assert "line 3" in found[0]["message"]
    assert "line 4" in found[0]["message"]


def test_a_row_that_stands_twice_is_read_once(rejected: Prepared, tmp_path: Path) -> None:
    assert rejected([article("x"), article("x")], [label("x")]) == []
    assert [row["id"] for row in read(tmp_path / "data" / "articles.jsonl")].count("x") == 1


def test_a_row_that_was_selected_stands_for_its_twin_in_the_pool(rejected: Prepared, tmp_path: Path) -> None:
    chosen = article("x") | {"stratum": "selected", "selected_by": "near-boundary"}
    assert rejected([article("x"), chosen], [label("x")]) == []
    (kept,) = [row for row in read(tmp_path / "data" / "articles.jsonl") if row["id"] == "x"]
    assert kept["stratum"] == "selected"


def test_an_article_whose_label_is_bad_is_unlabelled(rejected: Prepared, tmp_path: Path) -> None:
    rejected([article("x")], [label("x", {LENS: [99] * 6})])
    assert [row["id"] for row in read(tmp_path / "data" / "unlabelled.jsonl")] == ["x"]


def test_every_row_is_in_one_of_the_files(rejected: Prepared, tmp_path: Path) -> None:
    articles = ["{", article("a"), article("b"), {"id": "c"}, article("d", stratum=3)]
    found = rejected(articles, [label("a")])
    written = [row["id"] for name in ("articles", "unlabelled") for row in read(tmp_path / "data" / f"{name}.jsonl")]
    assert sorted([*written, *(str(row["id"]) for row in found)]) == ["None", "a", "b", "c", "d", "good-1", "good-2"]
