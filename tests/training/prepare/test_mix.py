"""The ratio of real and synthetic articles in training is held, and what that leaves out is told."""

from __future__ import annotations

import pytest

pytest.importorskip("datasketch")

from distilled_filters.errors import SettingError
from distilled_filters.training.prepare.mix import Mix, hold_mix, parse_mix


def articles(real: int, synthetic: int) -> dict[str, bool]:
    return {f"r{n}": False for n in range(real)} | {f"s{n}": True for n in range(synthetic)}


def test_too_many_synthetic_articles_are_left_out() -> None:
    mixed = hold_mix(Mix(70, 30), articles(70, 50), seed=1)
    assert (mixed.real, mixed.synthetic, len(mixed.left_out)) == (70, 30, 20)
    assert all(id_.startswith("s") for id_ in mixed.left_out)
    assert hold_mix(Mix(70, 30), articles(70, 50), seed=1) == mixed


def test_too_few_leave_the_real_ones_alone_unless_asked() -> None:
    assert hold_mix(Mix(70, 30), articles(700, 30), seed=1).left_out == []
    cut = hold_mix(Mix(70, 30, drop_real=True), articles(700, 30), seed=1)
    assert (cut.real, cut.synthetic) == (70, 30)
    assert all(id_.startswith("r") for id_ in cut.left_out)


def test_further_articles_change_the_choice_little() -> None:
    before = set(hold_mix(Mix(1, 1), articles(50, 100), seed=3).left_out)
    after = set(hold_mix(Mix(1, 1), articles(51, 100), seed=3).left_out)
    assert after < before
    assert len(before - after) == 1


def test_all_real_is_a_mix() -> None:
    mixed = hold_mix(Mix(100, 0, drop_real=True), articles(5, 5), seed=0)
    assert (mixed.real, mixed.synthetic) == (5, 0)


@pytest.mark.parametrize("text", ["70", "70:30", "a/b", "0/100", "-1/2", "0.7/0.3"])
def test_what_is_no_mix_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="70/30"):
        parse_mix(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [("70/40", "adds up to 110, not 100: give shares such as 64/36"), ("7/3", "not 100: give shares such as 70/30")],
)
def test_shares_that_are_no_hundred_are_refused(text: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        parse_mix(text)
