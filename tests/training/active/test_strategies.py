"""Every strategy orders a pool as its name says, and the same seed gives the same order."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

pytest.importorskip("sklearn")

from distilled_filters.cli.select import Strategy
from distilled_filters.errors import SettingError
from distilled_filters.training.active.strategies import (
    MIX_PARTS,
    MIXED,
    STRATEGIES,
    Candidates,
    Pick,
    disagreement_of,
    ranking,
)

SIZE = 60


@pytest.fixture(scope="module")
def candidates() -> Candidates:
    """Three tight clusters; scores rise with the index."""
    chance = np.random.default_rng(0)
    centres = np.eye(3, 8, dtype=np.float32)
    embeddings = np.repeat(centres, SIZE // 3, axis=0) + chance.normal(0, 0.02, (SIZE, 8)).astype(np.float32)
    averages = np.linspace(0, 8, SIZE)
    return Candidates(
        SIZE, 4.0, averages, averages / 8, np.cos(averages), embeddings, seeds=embeddings[[45]]
    )  # fmt: skip


def first(candidates: Candidates, strategy: str, count: int, seed: int = 0) -> list[Pick]:
    return list(islice(ranking(candidates, strategy, count, seed), count))


def test_the_command_offers_all_of_them() -> None:
    assert {each.value for each in Strategy} == {MIXED, *STRATEGIES}
    assert set(MIX_PARTS) <= set(STRATEGIES)
    assert sum(MIX_PARTS.values()) == pytest.approx(1)


@pytest.mark.parametrize("strategy", [MIXED, *STRATEGIES])
def test_every_candidate_comes_once_and_a_seed_fixes_the_order(candidates: Candidates, strategy: str) -> None:
    order = first(candidates, strategy, SIZE, seed=3)
    assert sorted(pick.index for pick in order) == list(range(SIZE))
    assert first(candidates, strategy, SIZE, seed=3) == order


def test_predicted_high_takes_the_best(candidates: Candidates) -> None:
    assert [pick.index for pick in first(candidates, "predicted-high", 3)] == [59, 58, 57]


def test_near_boundary_takes_both_sides_of_the_medium_tier(candidates: Candidates) -> None:
    assert {pick.index for pick in first(candidates, "near-boundary", 2)} == {29, 30}


def test_uncertainty_takes_what_may_be_in_scope_or_not(candidates: Candidates) -> None:
    assert {pick.index for pick in first(candidates, "uncertainty", 2)} == {29, 30}


def test_diversity_takes_one_of_each_cluster_first(candidates: Candidates) -> None:
    assert {pick.index // (SIZE // 3) for pick in first(candidates, "diversity", 3)} == {0, 1, 2}


def test_seeds_take_their_neighbours(candidates: Candidates) -> None:
    taken = first(candidates, "seeds", SIZE // 3)
    assert taken[0].index == 45
    assert all(pick.index >= 40 for pick in taken)


def test_random_depends_on_the_seed(candidates: Candidates) -> None:
    assert first(candidates, "random", 10, seed=1) != first(candidates, "random", 10, seed=2)


def test_equal_scores_are_not_taken_in_the_order_of_the_file() -> None:
    tied = Candidates(SIZE, 4.0, averages=np.zeros(SIZE))
    assert [pick.index for pick in first(tied, "predicted-high", 10)] != list(range(10))


def test_a_mix_takes_turns_by_its_shares(candidates: Candidates) -> None:
    taken = [pick.strategy for pick in first(candidates, MIXED, 40)]
    for name, share in MIX_PARTS.items():
        assert taken.count(name) == pytest.approx(share * 40, abs=1)


def test_disagreement_counts_at_the_top() -> None:
    one = np.arange(100.0)
    top, end = one.copy(), one.copy()
    top[[99, 50]] = one[[50, 99]]
    end[[0, 49]] = one[[49, 0]]
    assert disagreement_of([one, top]).argmax() in (99, 50)
    assert disagreement_of([one, top]).max() > 4 * disagreement_of([one, end]).max()
    assert not disagreement_of([one, one]).any()


@pytest.mark.parametrize(("strategy", "lacks"), [("uncertainty", "--filter"), ("seeds", "--seeds"), ("best", "known")])
def test_what_a_strategy_lacks_is_named(strategy: str, lacks: str) -> None:
    bare = Candidates(3, embeddings=np.eye(3, dtype=np.float32))
    with pytest.raises(SettingError, match=lacks):
        ranking(bare, strategy, 2, 0)
