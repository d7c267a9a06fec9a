"""Active learning replayed on labelled data: labels are hidden, and shown for what a strategy asks for.

Each lens for itself: a filter's author asks the oracle about one lens, and an article that
helps one says nothing about another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from distilled_filters.spec import LensSpec
from distilled_filters.training.active.proxy import Features, Indices, Ridge
from distilled_filters.training.active.strategies import MIXED, Candidates, disagreement_of, ranking
from distilled_filters.training.evaluate.figures import figures, judge
from distilled_filters.training.predict import averages

__all__ = ["QUALITIES", "RANDOM", "SEEDS", "Curve", "Plan", "Question", "mean_curve", "replay", "share_needed"]

FloatArray = npt.NDArray[np.float64]
Curve = dict[str, list[float]]

RANDOM, SEEDS = "random", "seeds"
QUALITIES = ("medium_average_precision", "ndcg_at_50", "scope_average_precision")
"""The figures that a simulation follows."""


@dataclass(frozen=True)
class Plan:
    """How a simulation goes: `first` labels at random, then `step` more a round up to `budget`.

    The strategy `seeds` is given `known_positives` and labels what is nearest to them in
    place of a random draw; after that it goes on as `mixed`.
    """

    first: int = 100
    step: int = 100
    budget: int = 1500
    known_positives: int = 5

    @property
    def labels(self) -> list[int]:
        """How many labels there are at each look."""
        return list(range(self.first, self.budget + 1, self.step))


@dataclass(frozen=True)
class Question:
    """One lens on one data set: what is hidden, and what it is judged by.

    Attributes:
        lens: The lens.
        dimensions: The oracle's scores of all n articles, (n, d), 0-10.
        pool: The articles (indices) that may be labelled.
        judged: The articles (indices) of each held-out split, by its name.
    """

    lens: LensSpec
    dimensions: FloatArray
    pool: Indices
    judged: Mapping[str, Indices]


def replay(features: Features, question: Question, strategy: str, seed: int, plan: Plan) -> dict[str, Curve]:
    """Return what one run reached after each round: for every split, each figure of `QUALITIES`.

    A figure that a split cannot define is NaN. Runs of one seed begin with the same labels
    under every strategy but `seeds`.
    """
    lens, dimensions = question.lens, question.dimensions
    # The scope is a target of its own: uncertainty is about it.
    targets: FloatArray = np.column_stack([dimensions, dimensions.any(axis=1)]).astype(np.float64)
    truths = {split: judge(dimensions[rows], lens) for split, rows in question.judged.items()}
    curves: dict[str, Curve] = {split: {name: [] for name in QUALITIES} for split in truths}
    student, look = Ridge(features.words), Ridge(features.looks)
    chosen = _first_labels(features, question, strategy, seed, plan)
    for number, goal in enumerate(plan.labels):
        student.learn(chosen)
        answers = student.answer(targets)
        expected = np.clip(answers[:, :-1], 0.0, 10.0)
        for split, rows in question.judged.items():
            measured = figures(judge(expected[rows], lens), truths[split], lens, only=QUALITIES)
            for name, value in measured.items():
                curves[split][name].append(float("nan") if value is None else value)
        if goal == plan.labels[-1]:
            break
        rest = np.setdiff1d(question.pool, student.labelled)
        predicted, apart = averages(expected[rest], lens), None
        if strategy == "disagreement":
            look.learn(chosen)
            apart = disagreement_of([predicted, look.answer(targets)[rest, -1]])
        candidates = Candidates(
            len(rest), lens.medium, predicted, answers[rest, -1], apart, features.embeddings[rest]
        )  # fmt: skip
        draw = seed * len(plan.labels) + number
        chosen = rest[_best(candidates, MIXED if strategy == SEEDS else strategy, plan.step, draw)]
    return curves


def mean_curve(runs: Sequence[Mapping[str, Curve]], split: str, quality: str) -> FloatArray:
    """Return the mean of one figure over several runs, one value a look."""
    mean: FloatArray = np.mean([run[split][quality] for run in runs], axis=0)
    return mean


def share_needed(labels: Sequence[int], curve: Sequence[float] | FloatArray, target: float) -> float | None:
    """Return the share of the budget from which on a curve stays at or above a target; None if it ends below."""
    below = [place for place, value in enumerate(curve) if not value >= target]
    place = below[-1] + 1 if below else 0
    return labels[place] / labels[-1] if place < len(labels) else None


def _best(candidates: Candidates, strategy: str, count: int, seed: int) -> list[int]:
    return [pick.index for pick in islice(ranking(candidates, strategy, count, seed), count)]


def _first_labels(features: Features, question: Question, strategy: str, seed: int, plan: Plan) -> Indices:
    chance = np.random.default_rng(seed)
    if strategy != SEEDS:
        return chance.choice(question.pool, plan.first, replace=False)
    # Any of the best: an author knows a few good articles, not the very best ones.
    best = question.pool[np.argsort(-averages(question.dimensions[question.pool], question.lens), kind="stable")]
    known = chance.choice(best[: 2 * plan.known_positives], plan.known_positives, replace=False)
    others = np.setdiff1d(question.pool, known)
    candidates = Candidates(len(others), embeddings=features.embeddings[others], seeds=features.embeddings[known])
    return np.concatenate([known, others[_best(candidates, SEEDS, plan.first - len(known), seed)]])
