"""What a data folder has too little of for a lens, and which articles would fill it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from distilled_filters.corpus.sources import find_sources, read_corpus
from distilled_filters.decision import verdict
from distilled_filters.spec import LensSpec
from distilled_filters.training.data import read_runs
from distilled_filters.training.prepare.labels import in_scope, mean_scores

__all__ = ["LOOK_ALIKE", "Cell", "Wish", "cells_of", "count_cells", "wishes"]

LOOK_ALIKE = "look-alike"
"""Beside the tiers above the last: in scope or nearly so, and of the last tier."""

Cell = tuple[str, str]
"""A tier, or `LOOK_ALIKE`, and a language."""

# Oracles score in such steps.
_STEP = 0.5
_SPREAD = 1.5
_HIGHEST = 9.5
_TRIES = 1000


@dataclass(frozen=True)
class Wish:
    """An article to be written: what it is to be, and the scores (d,), 0-10, it is to deserve."""

    number: int
    kind: str
    language: str
    scores: tuple[float, ...]


def cells_of(lens: LensSpec, kinds: Sequence[str] | None = None, languages: Sequence[str] | None = None) -> list[Cell]:
    """Return the cells to be filled: all tiers above the last and look-alikes, in all of the lens's languages."""
    asked = kinds or [*(tier.name for tier in lens.tiers[:-1]), LOOK_ALIKE]
    return [(kind, language) for language in languages or lens.languages for kind in asked]


def count_cells(data: Path, lens: LensSpec) -> Counter[Cell]:
    """Count the training articles of a data folder by cell; what is out of scope is in none."""
    runs, counts = read_runs(data), Counter[Cell]()
    for record in read_corpus(find_sources([str(data / "articles.jsonl")])):
        row = record.value
        if not isinstance(row, dict) or row.get("split", "train") != "train" or row.get("id") not in runs:
            continue
        scores = mean_scores(runs[row["id"]], lens)
        if scores is not None and in_scope(scores):
            tier = verdict(scores, lens)[1]
            kind = LOOK_ALIKE if tier == lens.tiers[-1].name else tier
            counts[kind, str(row.get("language"))] += 1
    return counts


def wishes(lens: LensSpec, counts: Counter[Cell], cells: Iterable[Cell], count: int, seed: int) -> list[Wish]:
    """Return `count` wishes, each for the cell that has least by then; the same seed gives the same."""
    held = {cell: counts[cell] for cell in cells}
    made = []
    for number in range(count):
        cell = min(held, key=lambda each: held[each])
        held[cell] += 1
        scores = _target(lens, cell[0], random.Random(f"{seed} {number}"))
        made.append(Wish(number, *cell, scores))
    return made


def _target(lens: LensSpec, kind: str, chance: random.Random) -> tuple[float, ...]:
    """Draw scores whose gated average is of the tier; a look-alike's are in the lower half of the last tier."""
    names = [tier.name for tier in lens.tiers]
    if kind == LOOK_ALIKE:
        low, high = 0.0, lens.tiers[-2].at_least / 2
    else:
        place = names.index(kind)
        low, high = lens.tiers[place].at_least, lens.tiers[place - 1].at_least if place else _HIGHEST
    for _ in range(_TRIES):
        middle = chance.uniform(low, high)
        scores = [_stepped(chance.gauss(middle, _SPREAD)) for _ in lens.dimensions]
        average = verdict(scores, lens)[0]
        if low <= average < high and any(scores):
            return tuple(scores)
    # A gate may leave hardly any room; equal scores pass every one that the tier itself passes.
    return (_stepped((low + high) / 2),) * len(lens.dimensions)


def _stepped(score: float) -> float:
    return min(10.0, max(0.0, round(score / _STEP) * _STEP))
