"""35 points: each is lost for its own reason, and the verdict follows from them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasketch")
pytest.importorskip("phonenumbers")

from distilled_filters.training.readiness.answers import GUIDE, Answers, Need
from distilled_filters.training.readiness.checks import Status, checks
from distilled_filters.training.readiness.curve import CurvePoint
from distilled_filters.training.readiness.facts import Copies
from distilled_filters.training.readiness.pii import Kind
from distilled_filters.training.readiness.privacy import Privacy
from distilled_filters.training.readiness.redundancy import Redundancy
from distilled_filters.training.readiness.releases import Release
from distilled_filters.training.readiness.rubric import Verdict, judge
from tests.training.readiness.conftest import ALL_ANSWERS, good_facts, good_lens

NO_RELEASE = Release("1.0.0", None, False, False, None, {}, {}, {})
PRIVATE = Privacy(articles=10, affected=2, findings=Counter({Kind.EMAIL: 3}))


def test_good_facts_and_answers_earn_all_35() -> None:
    judgement = judge(good_facts(), ALL_ANSWERS)
    assert [point.demand for point in judgement.points if not point.given] == []
    assert (judgement.total, judgement.verdict, judgement.reasons) == (35, Verdict.JUSTIFIED, [])
    assert set(judgement.sections.values()) == {5}
    assert len({point.demand for point in judgement.points}) == 35
    assert [check.name for check in checks(good_facts(), ALL_ANSWERS) if check.status is not Status.GOOD] == []


@pytest.mark.parametrize(
    ("facts", "lost"),
    [
        ({"lenses": [good_lens(labelled=499)]}, ["500 labelled articles or more"]),
        ({"lenses": [good_lens(reaching={"all": 49, "held_out": 40, "real": 9})]}, ["50 articles of medium and above"]),
        ({"lenses": [good_lens(reaching={"all": 99, "held_out": 9, "real": 9})]},
         ["10 held-out articles of medium and above"]),
        ({"strata": {"enriched": 2000}}, ["articles as production has them"]),
        ({"refused": {"no_content": 200}}, ["readable rows, few copies"]),
        ({"copies": Copies(200, 200, 0, 0)}, ["readable rows, few copies"]),
        ({"copies": Copies(0, 1, 1, 0)}, ["no copy on both sides of a split"]),
        ({"splits": {}}, ["20% held out", "no copy on both sides of a split"]),
        ({"splits": {"train": 1900, "test": 100}}, ["20% held out"]),
        ({"lenses": [good_lens(agreement={"articles": 99, "tier_agreement": 0.97, "tier_kappa": 0.5})]},
         ["a prompted model can do the task"]),
        ({"lenses": [good_lens(agreement=None)]}, ["the oracle's own noise is known"]),
        ({"lenses": [good_lens(redundancy=Redundancy(99, 0.8, [], [], ("a", "b", 0.9)))]},
         ["dimensions say different things"]),
        ({"lenses": [good_lens(redundancy=None)]}, ["dimensions say different things"]),
        ({"lenses": [good_lens(tiers={"high": 9, "medium": 99, "low": 999})]}, ["labels use the whole scale"]),
        ({"lenses": [good_lens(edges={"near_boundary": 29, "gated": None})]}, ["edge cases are there"]),
        ({"wanted": ["en", "fr"]}, ["every language is there"]),
        ({"card_holds": None}, ["data has a card with digests"]),
        ({"card_holds": False}, ["data has a card with digests"]),
        ({"oracles": {"large": 1999}}, ["labels name their oracle and prompt"]),
        ({"lenses": [good_lens(prompts=["0" * 64])]}, ["labels name their oracle and prompt"]),
        ({"lenses": [good_lens(release=NO_RELEASE)]},
         ["a student beats simple words", "the prompt is the one in the spec", "reference articles are kept",
          "figures belong to the weights", "there is a reference distribution"]),
    ],
)  # fmt: skip
def test_each_measured_point_is_lost_for_its_own_reason(facts: dict[str, Any], lost: list[str]) -> None:
    judgement = judge(good_facts(**facts), ALL_ANSWERS)
    missing = [point for point in judgement.points if not point.given]
    assert [point.demand for point in missing] == lost
    assert all(point.source == "measured" and point.why for point in missing)


def test_without_answers_what_files_cannot_tell_gives_no_point() -> None:
    judgement = judge(good_facts(), Answers())
    missing = [point for point in judgement.points if not point.given]
    assert {point.source for point in missing} == {"not answered"}
    assert len(missing) == 12
    assert judgement.verdict is Verdict.NEEDS_EVALUATION
    assert "cost: 0 of 5 points; 3 are the least" in judgement.reasons
    assert "12 points wait for answers; --questionnaire asks" in judgement.reasons


def test_silence_makes_nothing_premature_and_poor_data_does() -> None:
    poor: dict[str, Any] = {
        "strata": {},
        "splits": {},
        "wanted": ["fr"],
        "card_holds": None,
        "gates": False,
        "oracles": {},
    }
    silent = judge(good_facts(**poor), Answers())
    assert (silent.total, silent.open, silent.verdict) == (16, 13, Verdict.NEEDS_EVALUATION)
    spoken = Answers.model_validate(dict.fromkeys(("stable", "success", "upkeep", "drift", "feedback", "owner"), False))
    poorest = judge(good_facts(**poor, lenses=[good_lens(release=NO_RELEASE, agreement=None, redundancy=None)]), spoken)
    assert poorest.verdict is Verdict.PREMATURE


@pytest.mark.parametrize("need", list(Need))
def test_the_guide_decides_whether_a_student_is_the_answer(need: Need) -> None:
    judgement = judge(good_facts(), ALL_ANSWERS.model_copy(update={"need": need}))
    trains = need in {Need.LATENCY, Need.COST, Need.CLASSIFICATION}
    assert judgement.verdict is (Verdict.JUSTIFIED if trains else Verdict.PREMATURE)
    assert trains or any(GUIDE[need].remedy in reason for reason in judgement.reasons)


def test_too_few_articles_are_premature_and_leaks_need_evaluation_whatever_the_points() -> None:
    few = judge(good_facts(lenses=[good_lens(labelled=499)]), ALL_ANSWERS)
    assert (few.total, few.verdict) == (34, Verdict.PREMATURE)
    leak = judge(good_facts(copies=Copies(0, 1, 1, 0)), ALL_ANSWERS)
    assert (leak.total, leak.verdict) == (34, Verdict.NEEDS_EVALUATION)


def test_money_is_computed_and_not_believed() -> None:
    def why(**changes: float) -> tuple[bool, str]:
        judgement = judge(good_facts(), ALL_ANSWERS.model_copy(update=changes))
        (point,) = (each for each in judgement.points if each.demand == "it pays back within a year")
        return point.given, point.why

    # 600 USD against 5,000 articles a day at 1.99 USD less a thousand: 9.95 USD a day.
    assert why() == (True, "600 USD spent, 9.95 USD saved a day: paid back in 60 days")
    assert why(articles_per_day=500) == (False, "600 USD spent, 0.99 USD saved a day: paid back in 603 days")
    assert why(student_usd_per_1000=3) == (False, "600 USD spent, -5.00 USD saved a day: never paid back")


def test_personal_data_is_masked_settled_or_a_point_is_lost(tmp_path: Path) -> None:
    def given(privacy: Privacy | None, settled: bool | None) -> bool:
        answers = ALL_ANSWERS.model_copy(update={"personal_data_settled": settled})
        judgement = judge(good_facts(privacy=privacy), answers)
        return next(each.given for each in judgement.points if each.demand.startswith("personal data"))

    masked = Privacy(articles=10, affected=2, masked=tmp_path / "masked.jsonl")
    assert [given(PRIVATE, settled) for settled in (True, False, None)] == [True, False, False]
    assert given(masked, None)
    assert not given(None, True)


def test_checks_grade_and_advise() -> None:
    facts = good_facts(
        lenses=[good_lens(labelled=300, top_source=("diary", 0.6), agreement=None)], strata={"enriched": 2000},
        privacy=PRIVATE, copies=Copies(1, 0, 1, 0), languages={"en": 2000}, sources={"diary": 2000},
    )  # fmt: skip
    found = {check.name: check for check in checks(facts, Answers())}
    bad = {name for name, check in found.items() if check.status is Status.BAD}
    assert bad == {"examples", "natural distribution", "copies", "languages"}
    assert "uplifting 60% diary" in found["sources"].found
    assert "in 2 of 10 articles (email 3)" in found["personal data"].found
    assert all(bool(check.advice) is (check.status is not Status.GOOD) for check in found.values())


@pytest.mark.parametrize(("last", "status"), [(0.6, Status.LOOK), (0.51, Status.GOOD), (None, Status.LOOK)])
def test_a_curve_that_still_rises_asks_for_labels(last: float | None, status: Status) -> None:
    curve = [CurvePoint(share, 10, {"medium_average_precision": each}, {}) for share, each in ((0.5, 0.5), (1.0, last))]
    assert checks(good_facts(curve=curve), Answers())[-1].status is status
