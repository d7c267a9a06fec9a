"""When a cascade asks: the ranges are found where student and expert part, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from distilled_filters.spec import LensSpec
from distilled_filters.training.route import FOLDS, Cases, Goal, GoalError, fit_route, held_out, routed

COUNT = 1500


def cases(*, doubt: float = 0.5, screened: float = 0.0, lens: LensSpec, seed: int = 0) -> Cases:
    """Student and expert agree to the bit but within `doubt` of the medium boundary, where a coin decides."""
    chance = np.random.default_rng(seed)
    student = chance.uniform(0, 8, COUNT)
    unsure = np.abs(student - lens.medium) < doubt
    other = 2 * lens.medium - student
    expert = np.where(unsure & (chance.random(COUNT) < 0.5), other, student)
    return Cases(
        student=np.where(student < screened, 0.0, student),
        expert=expert,
        screened=student < screened,
        folds=chance.integers(0, FOLDS, COUNT),
    )


def test_the_range_lies_where_the_two_part(lens: LensSpec) -> None:
    given = cases(lens=lens)
    ((low, high),) = fit_route(given, lens, Goal(agreement=0.99, recall=0.95))
    assert lens.medium - 0.51 < low < lens.medium < high < lens.medium + 0.51
    found = routed(given, [(low, high)], lens)
    assert found["tier_agreement"] >= 0.99
    assert 0.09 < found["expert_share"] < 0.14, "an eighth of the averages leave a doubt"


def test_a_lower_goal_asks_less(lens: LensSpec) -> None:
    """The chance of another tier is the same all over the range, so any part of it will do."""
    given = cases(lens=lens)
    shares = [
        routed(given, fit_route(given, lens, Goal(agreement, 0.5)), lens)["expert_share"]
        for agreement in (0.93, 0.96, 0.98, 0.999)
    ]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1] / 2
    assert fit_route(given, lens, Goal(0.9, 0.5)) == [], "the student alone agrees as often as that"


def test_the_recall_is_a_goal_of_its_own(lens: LensSpec) -> None:
    given = cases(lens=lens)
    lax, strict = (fit_route(given, lens, Goal(0.95, recall)) for recall in (0.5, 0.999))
    assert routed(given, strict, lens)["medium_recall"] >= 0.998 > routed(given, lax, lens)["medium_recall"]


def test_figures_on_articles_that_chose_nothing_come_close(lens: LensSpec) -> None:
    goal = Goal(0.98, 0.95)
    outside, fresh = held_out(cases(lens=lens), lens, goal), cases(lens=lens, seed=1)
    afterwards = routed(fresh, fit_route(cases(lens=lens), lens, goal), lens)
    assert outside["tier_agreement"] == pytest.approx(afterwards["tier_agreement"], abs=0.01)
    assert outside["tier_agreement"] == pytest.approx(0.98, abs=0.01)


def test_what_the_first_look_loses_cannot_be_had_back(lens: LensSpec) -> None:
    given = cases(screened=lens.medium + 0.2, lens=lens)
    with pytest.raises(GoalError, match=r"first look ends \d+ of 1500 articles.*not 0\.985 and 0\.95; set lower goals"):
        fit_route(given, lens, Goal())
    assert routed(given, [(0.0, 10.0)], lens)["expert_share"] == pytest.approx(float((~given.screened).mean()))
