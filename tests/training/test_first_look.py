"""First looks: what words say, cross-fitting without leaks, and screens that are on only where they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from distilled_filters.scorers.lexical import bag_of
from distilled_filters.spec import LensSpec
from distilled_filters.training.data import Labels
from distilled_filters.training.first_look import _blend, _screen
from distilled_filters.training.lexical import cross_fitted_looks, fit_lexical, looks_of

VOCABULARY, SIGN, RARE = 30, 7, 29


def corpus(count: int, seed: int = 0) -> tuple[list[Any], Any]:
    """Articles of common tokens; every third is in scope and has the sign."""
    chance = np.random.default_rng(seed)
    ids = [np.append(chance.integers(8, 28, 12), [SIGN] * (number % 3 == 0)) for number in range(count)]
    scopes = np.array([[float(number % 3 == 0)] for number in range(count)])
    return [bag_of(each.astype(np.int32)) for each in ids], scopes


def test_a_word_that_gives_a_lens_away_speaks_for_it() -> None:
    bags, scopes = corpus(60)
    lexical = fit_lexical(bags, scopes, VOCABULARY)
    assert lexical.shape == (VOCABULARY, 1)
    assert lexical.argmax() == SIGN
    unseen, truth = corpus(30, seed=1)
    looks = looks_of(unseen, lexical)[:, 0]
    assert looks[truth[:, 0] == 1].min() > looks[truth[:, 0] == 0].max()


def test_a_word_of_one_article_says_nothing() -> None:
    bags, scopes = corpus(30)
    bags[0] = bag_of(np.array([RARE, RARE, SIGN], dtype=np.int32))
    lexical = fit_lexical(bags, scopes, VOCABULARY)
    assert lexical[RARE, 0] == 0


def test_a_cross_fitted_look_has_not_seen_its_group() -> None:
    """A word that only one group has says nothing in the fit that judges that group."""
    bags, scopes = corpus(40)
    groups = [number // 2 for number in range(40)]
    bags[0] = bags[1] = bag_of(np.array([RARE] * 9, dtype=np.int32))
    scopes[0] = scopes[1] = 1.0
    assert abs(looks_of(bags[:1], fit_lexical(bags, scopes, VOCABULARY))[0, 0]) > 0.1
    assert cross_fitted_looks(bags, scopes, groups, VOCABULARY)[0, 0] == 0


def test_the_blend_finds_the_parts_scales_and_doubles_the_slope() -> None:
    chance = np.random.default_rng(0)
    logits, looks = chance.normal(size=(4000, 2)), chance.normal(size=(4000, 2))
    truth = 0.8 * (logits + 3 * looks - 1)
    scopes = (chance.random((4000, 2)) < 1 / (1 + np.exp(-truth))).astype(float)
    strength, slope, shift = _blend(logits, looks, scopes)
    assert (strength, slope, shift) == pytest.approx((3, 1.6, 1), rel=0.15)


@dataclass
class Article:
    """As much of an `Example` as a screen looks at."""

    stratum: str
    labels: dict[str, Labels]


def articles(lens: LensSpec, scores: list[float]) -> list[Any]:
    size = len(lens.dimensions)
    return [Article("natural", {lens.name: Labels(1.0, np.full(size, score, np.float32))}) for score in scores]


@pytest.mark.parametrize(("missed", "on"), [(0, True), (1, True), (2, False)])
def test_a_screen_is_on_only_where_it_loses_at_most_one_in_a_hundred(lens: LensSpec, missed: int, on: bool) -> None:
    training, unseen = articles(lens, [8.0, 8.0, 0.0]), articles(lens, [8.0] * 100 + [0.0] * 100)
    looks = np.array([0.1] * missed + [0.5] * (100 - missed) + [0.1] * 75 + [0.5] * 25)
    screen = _screen(lens, training, np.array([0.6, 0.3, 0.0]), unseen, looks)
    assert screen.below == (0.3 if on else None)
    assert screen.recall == pytest.approx(1 - missed / 100)
    assert screen.positives == 100
    assert screen.natural_ended == pytest.approx((75 + missed) / 200)


@pytest.mark.parametrize(("positives", "on"), [(8, True), (7, False)])
def test_a_screen_needs_eight_positives_to_show_that_it_holds(lens: LensSpec, positives: int, on: bool) -> None:
    training, unseen = articles(lens, [8.0, 0.0]), articles(lens, [8.0] * positives + [0.0])
    looks = np.array([0.5] * positives + [0.1])
    assert (_screen(lens, training, np.array([0.3, 0.0]), unseen, looks).below is not None) == on


def test_without_positives_there_is_no_screen(lens: LensSpec) -> None:
    nothing = articles(lens, [0.0, 0.0])
    assert _screen(lens, nothing, np.zeros(2), nothing, np.zeros(2)).below is None
