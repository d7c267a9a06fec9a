"""Which clusters are held out: stratified, deterministic, and steady when rows are added.

Within each stratum the clusters stand in the order of a seeded digest of their names;
the first ones are test, the last ones validation. A cluster's place depends on nothing
but its name, so new rows move only those that stand at a boundary, where a shuffle (as
in scikit-learn's StratifiedGroupKFold) would deal all of them anew.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Unit", "assign"]


@dataclass(frozen=True, slots=True)
class Unit:
    """A cluster to be put into one split.

    Attributes:
        name: The cluster's name.
        kind: What it is beside its labels, such as its language; never mixed in a stratum.
        levels: What its labels reach, such as `("uplifting", "medium")`; the rarest one decides the stratum.
        train_only: It may not be held out.
    """

    name: str
    kind: tuple[str, ...]
    levels: frozenset[tuple[str, str]]
    train_only: bool = False


def assign(units: Sequence[Unit], held_out: float, seed: int) -> dict[str, str]:
    """Return each unit's split; of the share `held_out` (0-1) of all units half is validation, half is test."""
    counts = Counter(level for unit in units for level in unit.levels)
    strata: dict[tuple[str, ...], dict[tuple[str, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    for unit in units:
        rarest = min(unit.levels, key=lambda level: (counts[level], level), default=())
        if not unit.train_only:
            strata[rarest][unit.kind].append(unit.name)
    splits = dict.fromkeys((unit.name for unit in units), "train")
    eligible = sum(not unit.train_only for unit in units)
    share = min(1.0, held_out * len(units) / eligible) / 2 if eligible else 0.0
    for level, kinds in strata.items():
        lot = _draw(seed, *level)
        behind = 0
        for _, names in sorted(kinds.items()):
            ordered = sorted(names, key=lambda name: _draw(seed, name))
            # Rounding runs on from one small stratum to the next, so that the sums of a level are right too.
            ends = (behind * share, (behind + len(names)) * share)
            test, validation = (
                math.floor(ends[1] + offset) - math.floor(ends[0] + offset) for offset in (lot, (lot + 0.5) % 1)
            )
            behind += len(names)
            splits.update(dict.fromkeys(ordered[:test], "test"))
            splits.update(dict.fromkeys(ordered[max(test, len(ordered) - validation) :], "validation"))
    return splits


def _draw(seed: int, *names: str) -> float:
    """Return a number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256(repr((seed, *names)).encode()).hexdigest()
    return int(digest[:13], 16) / 16**13
