"""Bags of tokens: what is in a text, however often and in whatever order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_filters.scorers.lexical import bag_of

IDS = st.lists(st.integers(0, 30), min_size=1, max_size=200)


def test_counts_become_logarithms_of_unit_length() -> None:
    bag = bag_of(np.array([7, 3, 7, 7], dtype=np.int32))
    once, thrice = 1.0, 1 + np.log(3)
    assert bag.tokens.tolist() == [3, 7]
    assert bag.strengths.tolist() == pytest.approx(np.array([once, thrice]) / np.hypot(once, thrice))


def test_an_empty_text_has_an_empty_bag() -> None:
    assert bag_of(np.array([], dtype=np.int32)).strengths.shape == (0,)


@given(IDS)
def test_order_means_nothing_and_the_length_is_one(ids: list[int]) -> None:
    bag, other = bag_of(np.array(ids, dtype=np.int32)), bag_of(np.array(sorted(ids), dtype=np.int32))
    assert np.array_equal(bag.tokens, other.tokens)
    assert np.array_equal(bag.strengths, other.strengths)
    assert np.linalg.norm(bag.strengths) == pytest.approx(1, rel=1e-5)
