"""Replays hide labels, pay for each once, and say honestly what a strategy needed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.kernel_ridge import KernelRidge

from distilled_filters.scorers.lexical import bag_of
from distilled_filters.spec import LensSpec
from distilled_filters.training.active.proxy import Features, Ridge
from distilled_filters.training.active.simulation import QUALITIES, Plan, Question, mean_curve, replay, share_needed

POOL, JUDGED, RARE = 400, 100, 20
PLAN = Plan(first=20, step=20, budget=120, known_positives=2)


@pytest.fixture(scope="module")
def world(lens: LensSpec) -> tuple[Features, Question]:
    """One article in twenty is of the lens, and its words give it away."""
    chance = np.random.default_rng(0)
    filler, signs = [f"word{n}" for n in range(200)], ["otter", "river", "nest", "reed", "spawn", "marsh"]
    rare = np.arange(POOL + JUDGED) % RARE == 0
    texts = [" ".join([*chance.choice(filler, 30), *chance.choice(signs, 3 if each else 0)]) for each in rare]
    vocabulary = {word: n for n, word in enumerate([*filler, *signs])}
    bags = [bag_of(np.array([vocabulary[word] for word in text.split()], dtype=np.int32)) for text in texts]
    dimensions = np.where(rare[:, None], 7.0, 0.0) * np.ones(len(lens.dimensions))
    pool = np.arange(POOL)
    features = Features(texts, bags, len(vocabulary), pool)
    return features, Question(lens, dimensions, pool, {"test": np.arange(POOL, POOL + JUDGED)})


def test_a_growing_ridge_is_the_ridge(world: tuple[Features, Question]) -> None:
    gram = world[0].words
    targets = np.random.default_rng(1).normal(size=(len(gram), 2))
    ridge, learnt = Ridge(gram), np.array([5, 60, 7, 100, 31])
    ridge.learn(learnt[:2])
    ridge.learn(learnt[2:])
    means = targets[learnt].mean(axis=0)
    exact = KernelRidge(alpha=1.0, kernel="precomputed").fit(gram[np.ix_(learnt, learnt)], targets[learnt] - means)
    np.testing.assert_allclose(ridge.answer(targets), exact.predict(gram[:, learnt]) + means, atol=1e-4)


def test_hidden_labels_stay_hidden(world: tuple[Features, Question]) -> None:
    """Were a label read before its article was chosen, random labels elsewhere would change the first round."""
    features, question = world
    ridge = Ridge(features.words)
    ridge.learn(np.arange(10))
    targets = question.dimensions.copy()
    before = ridge.answer(targets)
    targets[10:] = 3.0
    np.testing.assert_array_equal(ridge.answer(targets), before)


def test_active_learning_finds_rare_articles_sooner(world: tuple[Features, Question]) -> None:
    features, question = world

    def mean(strategy: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        runs = [replay(features, question, strategy, seed, PLAN) for seed in range(3)]
        return mean_curve(runs, "test", QUALITIES[0])

    runs = {strategy: mean(strategy) for strategy in ("random", "mixed", "seeds")}
    assert all(len(curve) == len(PLAN.labels) == 6 for curve in runs.values())
    assert runs["mixed"][0] == runs["random"][0], "both begin with the same labels"
    assert runs["mixed"].mean() > runs["random"].mean()
    assert runs["seeds"][0] > runs["random"][0]


@pytest.mark.parametrize("strategy", ["disagreement", "mixed"])
def test_a_replay_repeats(world: tuple[Features, Question], strategy: str) -> None:
    assert replay(*world, strategy, 5, PLAN) == replay(*world, strategy, 5, PLAN)


def test_the_share_needed_is_where_a_curve_stays_up() -> None:
    labels = [100, 200, 300, 400]
    assert share_needed(labels, [0.1, 0.5, 0.6, 0.7], 0.5) == 0.5
    assert share_needed(labels, [0.1, 0.6, 0.4, 0.7], 0.5) == 1.0, "it fell below again"
    assert share_needed(labels, [0.1, 0.6, 0.7, 0.4], 0.5) is None
    assert share_needed(labels, [0.6, 0.6, 0.7, 0.8], 0.5) == 0.25
