"""AC21: a score that moves is seen, and every shipped version says what it changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distilled_filters.errors import SpecError
from distilled_filters.filter import Filter, load
from distilled_filters.golden import TOLERANCE, Deviation, check_golden, expectation, read_golden, record_golden
from tests.conftest import FILTERS, LANGUAGES, SHIPPED, SNIPPET, Document, House, rows


@pytest.fixture
def recorded(house: House) -> Filter:
    """A filter with one golden article, whose score is recorded."""
    folder = house.add()
    write(folder, [GOOD])
    each = Filter(folder)
    assert record_golden(each) == []
    return each


GOOD = {"id": "good", "language": "en", "title": "A clinic in Ardlow", "content": SNIPPET}
BAD = {"id": "bad", "language": "en", "title": "", "content": "too short"}


def write(folder: Path, golden: list[Document]) -> None:
    (folder / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in golden), encoding="utf-8")


def change(each: Filter, edit: Callable[[Document], Any], *, row: int = 0) -> None:
    golden = rows(each.folder / "golden.jsonl")
    edit(golden[row]["expected"])
    write(each.folder, golden)


def test_ac21_recorded_scores_hold(recorded: Filter) -> None:
    assert check_golden(recorded) == []
    (good,) = read_golden(recorded.folder)
    assert good["expected"] == expectation(recorded.score(good))
    assert set(good["expected"]) == {"status", "tier", "weighted_average", "dimensions"}


def test_a_filter_without_golden_articles_is_told_to_write_some(recorded: Filter) -> None:
    (recorded.folder / "golden.jsonl").unlink()
    with pytest.raises(SpecError, match="id, language, title and content"):
        check_golden(recorded)


def test_ac21_a_golden_article_may_be_one_that_must_be_refused(recorded: Filter) -> None:
    write(recorded.folder, [GOOD, BAD])
    record_golden(recorded)
    assert check_golden(recorded) == []
    assert read_golden(recorded.folder)[1]["expected"] == {
        "status": "too_short", "tier": None, "weighted_average": None, "dimensions": None,
    }  # fmt: skip
    change(recorded, lambda expected: expected.update(status="no_content"), row=1)
    assert check_golden(recorded) == [Deviation("bad", "status", "no_content", "too_short")]


def test_ac21_a_golden_article_that_was_refused_and_now_scores_is_reported(recorded: Filter) -> None:
    refused = {"status": "no_content", "tier": None, "weighted_average": None, "dimensions": None}
    write(recorded.folder, [GOOD | {"expected": refused}])
    assert {"status", "weighted_average"} <= {each.field for each in check_golden(recorded)}


@pytest.mark.parametrize("by", [0.06, -0.06, 3.0])
def test_ac21_a_moved_average_is_reported(recorded: Filter, by: float) -> None:
    change(recorded, lambda expected: expected.update(weighted_average=expected["weighted_average"] + by))
    (deviation,) = check_golden(recorded)
    assert (deviation.article, deviation.field) == ("good", "weighted_average")
    assert isinstance(deviation.expected, float)
    assert isinstance(deviation.found, float)
    assert deviation.expected - deviation.found == pytest.approx(by)


def test_ac21_a_moved_dimension_is_reported(recorded: Filter) -> None:
    def edit(expected: Document) -> None:
        expected["dimensions"]["evidence_level"] += 0.06

    change(recorded, edit)
    assert [(each.article, each.field) for each in check_golden(recorded)] == [("good", "evidence_level")]


def test_ac21_a_change_within_the_tolerance_is_none(recorded: Filter) -> None:
    assert TOLERANCE == 0.05

    def edit(expected: Document) -> None:
        expected["weighted_average"] += 0.045
        expected["dimensions"] = {name: value - 0.045 for name, value in expected["dimensions"].items()}

    change(recorded, edit)
    assert check_golden(recorded) == []


def test_ac21_a_changed_tier_is_reported(recorded: Filter) -> None:
    found = recorded.score(read_golden(recorded.folder)[0]).tier
    change(recorded, lambda expected: expected.update(tier="other"))
    assert check_golden(recorded) == [Deviation("good", "tier", "other", found)]


def test_ac21_a_golden_article_that_no_longer_scores_is_reported(recorded: Filter) -> None:
    golden = rows(recorded.folder / "golden.jsonl")
    golden[0]["content"] = ""
    write(recorded.folder, golden)
    fields = {each.field for each in check_golden(recorded)}
    assert fields == {"status", "tier", "weighted_average", *recorded.spec.dimension_names}


@pytest.mark.parametrize("kind", ["lost", "new"])
def test_ac21_another_set_of_dimensions_is_reported(recorded: Filter, kind: str) -> None:
    def edit(expected: Document) -> None:
        if kind == "lost":
            expected["dimensions"]["hope"] = 3.0
        else:
            del expected["dimensions"]["evidence_level"]

    change(recorded, edit)
    assert [each.field for each in check_golden(recorded)] == ["hope" if kind == "lost" else "evidence_level"]


def test_ac21_a_moved_head_is_seen_and_recorded(recorded: Filter, house: House) -> None:
    def shift(tensors: dict[str, Any]) -> None:
        tensors["weight"][:], tensors["bias"][:] = 0, 9.5

    house.change_head(recorded.folder, shift)
    moved = Filter(recorded.folder)
    seen = check_golden(moved)
    assert {each.article for each in seen} == {"good"}
    assert {"weighted_average", "tier"} <= {each.field for each in seen}
    assert record_golden(moved) == seen
    assert check_golden(moved) == []


def test_ac21_a_golden_article_without_a_score_is_an_error(recorded: Filter) -> None:
    golden = rows(recorded.folder / "golden.jsonl")
    del golden[0]["expected"]
    write(recorded.folder, golden)
    with pytest.raises(SpecError, match=r"golden\.jsonl: good has no expected score; run `distillery golden`"):
        check_golden(recorded)


@pytest.mark.parametrize("line", ["{", "null", "[]", '{"id": "a"}', '{"id": "a", "language": "en", "title": "t"}'])
def test_a_line_that_is_no_golden_article_is_named(recorded: Filter, line: str) -> None:
    path = recorded.folder / "golden.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(SpecError, match=rf"{path}:2: not a golden article"):
        read_golden(recorded.folder)


@pytest.mark.parametrize("name", SHIPPED)
def test_ac21_shipped_filters_have_a_golden_article_in_every_language(name: str) -> None:
    golden = read_golden(FILTERS / name / "v1")
    assert {row["language"] for row in golden} == LANGUAGES
    assert len({row["id"] for row in golden}) == len(golden)


@pytest.mark.parametrize("name", SHIPPED)
def test_ac21_shipped_filters_give_their_golden_scores(name: str) -> None:
    """Fails where a score moved: raise the version, write "Changed scores", run `distillery golden`."""
    assert check_golden(load(name, threads=1)) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_ac21_every_shipped_version_says_what_it_changed(name: str) -> None:
    changelog = (FILTERS / "CHANGELOG.md").read_text(encoding="utf-8")
    _, *sections = re.split(r"(?m)^## ", changelog)
    entries = {heading: body for heading, _, body in (section.partition("\n") for section in sections)}
    body = entries[f"{name} {load(name).version}"]
    assert re.search(r"(?m)^Changed scores: \S", body), "say what changed"
