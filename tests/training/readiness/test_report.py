"""The page: whole, self-contained, and without a word of the articles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("datasketch")
pytest.importorskip("phonenumbers")

from distilled_filters.training.readiness import Assessment, assess
from distilled_filters.training.readiness.answers import Answers
from distilled_filters.training.readiness.checks import checks
from distilled_filters.training.readiness.curve import FIGURES, CurvePoint
from distilled_filters.training.readiness.plots import plots_of
from distilled_filters.training.readiness.report import write_report
from distilled_filters.training.readiness.rubric import judge
from tests.training.pages import Page
from tests.training.prepare.conftest import LENS, read
from tests.training.readiness.conftest import ALL_ANSWERS, good_facts, good_lens


def test_the_report_is_one_page_that_asks_for_nothing(tmp_path: Path) -> None:
    figures: dict[str, float | None] = dict.fromkeys(FIGURES, 0.5)
    facts = good_facts(curve=[CurvePoint(share, int(100 * share), figures, {LENS: 0.5}) for share in (0.5, 1.0)])
    assessment = Assessment(facts, ALL_ANSWERS, checks(facts, ALL_ANSWERS), judge(facts, ALL_ANSWERS))
    path = write_report(assessment, tmp_path / "report")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert len(page.loads) == 2 * len(plots_of(facts)) == 12
    assert all(source.startswith("data:image/png;base64,") for source in page.loads)
    assert "url(" not in text
    assert all(page.alternatives)
    assert {target.removeprefix("#") for target in page.targets} <= set(page.ids)
    assert text.count('<span class="tag">given</span>') == 35
    for words in ("Justified", "14 of 14 checks are good", "cost (yours)", ">3.0<"):
        assert words in text
    for name in plots_of(facts):
        assert (path.parent / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((path.parent / "readiness.json").read_text())
    assert (document["verdict"], document["points"]) == ("justified", 35)


def test_poor_data_makes_a_whole_page_without_a_word_of_the_articles(data: Path, filters: Path, tmp_path: Path) -> None:
    assessment = assess(data, filters, names=[LENS])
    text = write_report(assessment, tmp_path / "report").read_text(encoding="utf-8")
    assert Page(text).open == []
    assert "Premature" in text
    assert "The question is not answered yet" in text
    whole = text + (tmp_path / "report" / "readiness.json").read_text()
    for row in read(data / "articles.jsonl"):
        assert not row["content"] or row["content"][:30] not in whole
    assert "desk@paper.example" not in whole


def test_facts_with_little_in_them_still_make_a_page(tmp_path: Path) -> None:
    lens = good_lens(redundancy=None, agreement=None, histogram=[0] * 10, in_scope=0, top_source=None)
    facts = good_facts(lenses=[lens], splits={}, tokens=[5], privacy=None, sources={"unstated": 2000})
    assessment = Assessment(facts, Answers(), checks(facts, Answers()), judge(facts, Answers()))
    text = write_report(assessment, tmp_path).read_text(encoding="utf-8")
    assert Page(text).open == []
    assert set(plots_of(facts)) == {"scores", "origin", "lengths"}
