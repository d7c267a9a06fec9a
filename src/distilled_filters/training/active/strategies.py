"""Which candidates are worth a label: every strategy orders a pool, and a mix takes turns between orders.

Strategies know arrays only, so that production pools and simulations are chosen from by
the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.cluster import MiniBatchKMeans

from distilled_filters.errors import SettingError

__all__ = ["MIXED", "MIX_PARTS", "STRATEGIES", "Candidates", "Pick", "disagreement_of", "ranking"]

FloatArray = npt.NDArray[np.float64]
Embeddings = npt.NDArray[np.float32]
T = TypeVar("T")

MIXED = "mixed"
# On the validation split predicted-high alone needed fewest labels; the rest guards against a student's blind spots.
MIX_PARTS: Mapping[str, float] = {"predicted-high": 0.7, "uncertainty": 0.2, "random": 0.1}


@dataclass(frozen=True)
class Candidates:
    """What is known of n unlabelled articles before the oracle reads them.

    Attributes:
        size: n.
        medium: Where the medium tier of the lens begins, 0-10.
        averages: The student's weighted averages (n,), 0-10.
        scopes: Its P(in scope), (n,), 0-1.
        disagreement: How far two views of each article are apart, (n,).
        embeddings: (n, dims).
        seeds: The embeddings of a few known positives, (m, dims).
    """

    size: int
    medium: float = 0.0
    averages: FloatArray | None = None
    scopes: FloatArray | None = None
    disagreement: FloatArray | None = None
    embeddings: Embeddings | None = None
    seeds: Embeddings | None = None


@dataclass(frozen=True, slots=True)
class Pick:
    """One candidate by its index, the strategy that asks for it, and that strategy's score: more is better."""

    index: int
    strategy: str
    score: float


def ranking(candidates: Candidates, strategy: str, count: int, seed: int) -> Iterator[Pick]:
    """Yield every candidate once, the most wanted first; the same seed gives the same order.

    Args:
        candidates: The pool.
        strategy: `mixed`, or a name in `STRATEGIES`.
        count: About how many are wanted: clusters are made for so many.
        seed: Of the random draws and the clusters.

    Raises:
        SettingError: for an unknown strategy, or one that needs what the pool lacks.
    """
    if strategy != MIXED and strategy not in STRATEGIES:
        raise SettingError(f"no strategy {strategy!r}; known are {MIXED}, {', '.join(STRATEGIES)}")
    parts = MIX_PARTS if strategy == MIXED else {strategy: 1.0}
    orders = {name: _order(candidates, name, max(1, round(share * count)), seed) for name, share in parts.items()}
    return _take_turns(orders, parts)


def disagreement_of(views: Sequence[FloatArray]) -> FloatArray:
    """Return how far views (n,) of the same articles are apart where it matters: at the top.

    Each view is ranked; a place counts by the logarithm of the share of articles at it or
    above, so that the top hundredth against the middle is much and the middle against
    the end is little. The standard deviation over the views is returned, (n,).
    """
    places = [-np.log(rankdata(-view) / len(view)) for view in views]
    apart: FloatArray = np.std(places, axis=0)
    return apart


def _random(candidates: Candidates, count: int, chance: np.random.Generator) -> FloatArray:
    return chance.random(candidates.size)


def _predicted_high(candidates: Candidates, count: int, chance: np.random.Generator) -> FloatArray:
    return _needed(candidates.averages, "predicted-high", "scores: name a --filter")


def _near_boundary(candidates: Candidates, count: int, chance: np.random.Generator) -> FloatArray:
    averages = _needed(candidates.averages, "near-boundary", "scores: name a --filter")
    return -np.abs(averages - candidates.medium)


def _uncertainty(candidates: Candidates, count: int, chance: np.random.Generator) -> FloatArray:
    """Lewis and Gale (1994): the student cannot tell in from out of scope."""
    scopes = _needed(candidates.scopes, "uncertainty", "scores: name a --filter")
    return 1.0 - 2.0 * np.abs(np.clip(scopes, 0.0, 1.0) - 0.5)


def _disagreement(candidates: Candidates, count: int, chance: np.random.Generator) -> FloatArray:
    """Seung et al. (1992): a committee's members do not agree."""
    return _needed(candidates.disagreement, "disagreement", "scores: name a --filter")


def _diversity(candidates: Candidates, count: int, chance: np.random.Generator) -> FloatArray:
    """One article of each of `count` clusters, the one nearest to its centre, before a second one of any."""
    embeddings = _unit(_needed(candidates.embeddings, "diversity", "embeddings"))
    clusters = MiniBatchKMeans(
        min(count, len(embeddings)), random_state=int(chance.integers(2**31)), n_init=1, batch_size=2048
    ).fit(embeddings)
    distances = np.linalg.norm(embeddings - clusters.cluster_centers_[clusters.labels_], axis=1)
    places = np.empty(len(embeddings))
    for cluster in np.unique(clusters.labels_):
        members = np.flatnonzero(clusters.labels_ == cluster)
        places[members[np.argsort(distances[members], kind="stable")]] = np.arange(len(members))
    # The place in its cluster comes first; the distance, under 2, orders those at one place.
    wanted: FloatArray = -places - distances / 4
    return wanted


def _seeds(candidates: Candidates, count: int, chance: np.random.Generator) -> FloatArray:
    """The cosine to the nearest seed: a first screen for a lens that has no student yet."""
    embeddings = _unit(_needed(candidates.embeddings, "seeds", "embeddings"))
    seeds = _unit(_needed(candidates.seeds, "seeds", "a few known positives: name a file of them with --seeds"))
    nearest: FloatArray = (embeddings @ seeds.T).max(axis=1).astype(np.float64)
    return nearest


STRATEGIES: Mapping[str, Callable[[Candidates, int, np.random.Generator], FloatArray]] = {
    "uncertainty": _uncertainty,
    "disagreement": _disagreement,
    "diversity": _diversity,
    "near-boundary": _near_boundary,
    "predicted-high": _predicted_high,
    "seeds": _seeds,
    "random": _random,
}
"""Every strategy by its name; each returns how much it wants each candidate, (n,)."""


def _order(candidates: Candidates, name: str, count: int, seed: int) -> Iterator[Pick]:
    # Each part draws for itself, so that it picks the same alone and in a mix.
    chance = np.random.default_rng([seed, sorted(STRATEGIES).index(name)])
    scores = STRATEGIES[name](candidates, count, chance)
    # What has equal scores, such as all that a screen ended, is not taken in the order of the file.
    lot = chance.permutation(candidates.size)
    return (Pick(int(index), name, float(scores[index])) for index in np.lexsort((lot, -scores)))


def _take_turns(orders: Mapping[str, Iterator[Pick]], shares: Mapping[str, float]) -> Iterator[Pick]:
    """Yield from all orders by their shares, nothing twice: always from the one that is furthest behind."""
    rest = dict(orders)
    taken: set[int] = set()
    given = dict.fromkeys(orders, 0)
    while rest:
        name = min(rest, key=lambda each: (given[each] + 1) / shares[each])
        pick = next((pick for pick in rest[name] if pick.index not in taken), None)
        if pick is None:
            del rest[name]
            continue
        taken.add(pick.index)
        given[name] += 1
        yield pick


def _unit(vectors: Embeddings) -> Embeddings:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Embeddings = vectors / np.maximum(lengths, 1e-12)
    return scaled


def _needed(value: T | None, strategy: str, what: str) -> T:
    if value is None:
        raise SettingError(f"the strategy {strategy!r} needs {what}")
    return value
