from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from distilled_filters.cli.explain_view import why
from distilled_filters.filter import Filter
from tests.cli.conftest import EXAMPLES, Run

TEXT = "The river runs clear again after nine years of work, the county's tests show, and the trout are back."
ONE = ("-f", "uplifting")


@pytest.mark.parametrize(
    ("average", "tier", "reason"),
    [
        (6.8, "high", "weighted average 6.80 >= 6.0, so high"),
        (4.37, "medium", "weighted average 4.37 >= 4.0, so medium; 1.63 under high"),
        (2.1, "low", "weighted average 2.10 < 4.0, so low; 1.90 under medium"),
    ],
)
def test_the_reason_for_a_tier(average: float, tier: str, reason: str, uplifting: Filter) -> None:
    score = replace(uplifting.score(TEXT), weighted_average=average, tier=tier, gate_applied=False)
    assert why(score, uplifting.spec) == reason


def test_the_reason_names_the_gate(uplifting: Filter) -> None:
    dimensions = dict.fromkeys(uplifting.spec.dimension_names, 8.0) | {"evidence_level": 2.0}
    score = replace(uplifting.score(TEXT), weighted_average=3.0, tier="low", gate_applied=True, dimensions=dimensions)
    assert why(score, uplifting.spec).endswith(
        "The gate holds it at 3: evidence_level is 2.00, under 3; without it 6.80"
    )


def test_a_record_without_a_score_says_why_not(distillery: Run) -> None:
    done = distillery("explain", "-", *ONE, stdin='{"title": "Empty", "content": ""}')
    assert done.exit_code == 0
    assert "no_content: no article text" in done.stdout


def test_a_row_of_a_file(distillery: Run) -> None:
    done = distillery("explain", EXAMPLES, "--row", "3", *ONE)
    assert done.exit_code == 0
    for text in ("example-04", "uplifting 1.", "evidence_level", "tokens: the first", "weighted average", "interval"):
        assert text in done.stdout
    document = json.loads(distillery("explain", EXAMPLES, "--row", "3", *ONE, "--json").stdout)
    assert (document["row"], document["id"]) == (3, "example-04")
    assert document["scores"]["uplifting"]["why"].startswith("weighted average")
    done = distillery("explain", EXAMPLES, "--row", "99")
    assert done.exit_code == 2
    assert "no record 99" in done.stderr


def test_text_pages_and_standard_input(distillery: Run, tmp_path: Path) -> None:
    def average(*arguments: str, stdin: str = "") -> float:
        done = distillery("explain", *arguments, *ONE, "--json", stdin=stdin)
        value: float = json.loads(done.stdout)["scores"]["uplifting"]["weighted_average"]
        return value

    page = tmp_path / "a page.html"
    page.write_text(f"<html><body><p>{TEXT}</p></body></html>", encoding="utf-8")
    expected = average(TEXT)
    assert average(str(page)) == expected
    assert average("-", stdin=TEXT) == expected
    assert average("-", stdin=json.dumps({"content": TEXT}, indent=2)) == expected
    assert average("-", stdin=json.dumps([{"content": TEXT}])) == expected
    assert average("-", "--row", "1", stdin="null\n".replace("null", "{}") + json.dumps({"content": TEXT})) == expected


def test_one_word_that_is_no_file_is_a_mistyped_name(distillery: Run) -> None:
    done = distillery("explain", "articels.jsonl")
    assert done.exit_code == 2
    assert "no file articels.jsonl" in done.stderr
