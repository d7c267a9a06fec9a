"""Average, gate, tier and percentile as properties of pure functions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_filters.decision import apply_gate, check_finite, percentile_of, tier_of, weighted_average
from distilled_filters.errors import NonFiniteScoreError
from distilled_filters.spec import Dimension, Gate, LensSpec, Tier, read_lens_spec
from distilled_filters.status import Status
from tests.conftest import FILTERS

BASE = read_lens_spec(FILTERS / "uplifting" / "v1" / "filter.toml")
ON_SCALE = st.floats(0, 10)


@st.composite
def lenses(draw: st.DrawFn) -> LensSpec:
    shares = draw(st.lists(st.integers(1, 100), min_size=1, max_size=8))
    dimensions = tuple(
        Dimension(name=f"d{number}", question="?", weight=share / sum(shares)) for number, share in enumerate(shares)
    )
    bounds = sorted(draw(st.sets(st.floats(0, 10, exclude_min=True), max_size=4)), reverse=True)
    tiers = tuple(Tier(name=f"t{number}", at_least=bound) for number, bound in enumerate([*bounds, 0.0]))
    gated = st.builds(
        Gate, dimension=st.sampled_from(dimensions).map(lambda d: d.name), below=ON_SCALE, ceiling=ON_SCALE
    )
    fields = dict(BASE) | {"dimensions": dimensions, "tiers": tiers, "gate": draw(st.none() | gated)}
    return LensSpec.model_validate(fields)


@st.composite
def judged(draw: st.DrawFn) -> tuple[LensSpec, list[float]]:
    lens = draw(lenses())
    size = len(lens.dimensions)
    return lens, draw(st.lists(ON_SCALE, min_size=size, max_size=size))


@given(judged())
def test_the_weighted_average_lies_within_its_dimensions(case: tuple[LensSpec, list[float]]) -> None:
    lens, scores = case
    average = weighted_average(scores, lens)
    assert min(scores) - 1e-9 <= average <= max(scores) + 1e-9


@given(judged(), st.data())
def test_the_weighted_average_moves_by_the_weight(case: tuple[LensSpec, list[float]], data: st.DataObject) -> None:
    lens, scores = case
    place = data.draw(st.integers(0, len(scores) - 1))
    moved = [10.0 if number == place else score for number, score in enumerate(scores)]
    gain = weighted_average(moved, lens) - weighted_average(scores, lens)
    assert math.isclose(gain, lens.dimensions[place].weight * (10.0 - scores[place]), abs_tol=1e-9)


@given(judged())
def test_the_gate_never_raises_an_average_and_says_when_it_lowers_one(case: tuple[LensSpec, list[float]]) -> None:
    lens, scores = case
    before = weighted_average(scores, lens)
    after, gated = apply_gate(before, scores, lens)
    assert after <= before
    assert gated == (after < before)
    closed = lens.gate is not None and scores[lens.dimension_names.index(lens.gate.dimension)] < lens.gate.below
    if closed:
        assert lens.gate is not None
        assert after <= lens.gate.ceiling
    else:
        assert after == before


def test_the_gate_opens_at_its_bound() -> None:
    assert BASE.gate is not None
    place = BASE.dimension_names.index(BASE.gate.dimension)
    for value, expected in ((BASE.gate.below, 8.0), (math.nextafter(BASE.gate.below, 0), BASE.gate.ceiling)):
        scores = [9.0] * len(BASE.dimensions)
        scores[place] = value
        assert apply_gate(8.0, scores, BASE)[0] == expected


@given(lenses(), ON_SCALE, ON_SCALE)
def test_a_higher_average_is_never_in_a_lower_tier(lens: LensSpec, one: float, other: float) -> None:
    names = [tier.name for tier in lens.tiers]
    low, high = sorted((one, other))
    assert names.index(tier_of(high, lens.tiers)) <= names.index(tier_of(low, lens.tiers))


@given(lenses())
def test_a_tier_begins_at_its_bound(lens: LensSpec) -> None:
    for upper, lower in zip(lens.tiers, lens.tiers[1:], strict=False):
        assert tier_of(upper.at_least, lens.tiers) == upper.name
        assert tier_of(math.nextafter(upper.at_least, 0), lens.tiers) == lower.name
    assert tier_of(0.0, lens.tiers) == lens.tiers[-1].name


@given(st.lists(ON_SCALE, min_size=2), ON_SCALE, ON_SCALE)
def test_the_percentile_rises_from_0_to_100(averages: list[float], one: float, other: float) -> None:
    reference = sorted(averages)
    low, high = sorted((one, other))
    assert 0 <= percentile_of(low, reference) <= percentile_of(high, reference) <= 100
    assert percentile_of(-1.0, reference) == 0
    assert percentile_of(reference[-1], reference) == 100


def test_the_percentile_is_the_share_at_or_under() -> None:
    assert percentile_of(2.0, [1.0, 2.0, 2.0, 4.0]) == 75


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_by_name(value: float) -> None:
    check_finite([1.0, 2.0], ["a", "b"])
    with pytest.raises(NonFiniteScoreError, match=f"b={value}") as caught:
        check_finite([1.0, value], ["a", "b"])
    assert caught.value.status is Status.ERROR
    assert isinstance(caught.value, ArithmeticError)
