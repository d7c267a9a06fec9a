"""From the orders of several lenses to the rows that go to the oracle: in turns, no near copy twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from distilled_filters.training.active.pool import Labelled, Pool
from distilled_filters.training.active.strategies import Pick
from distilled_filters.training.prepare.duplicates import NEAR_COPY, CopyIndex, normalised

__all__ = ["STRATUM", "Choice", "choose"]

STRATUM = "selected"
"""What rows are marked as that a student chose: they say nothing about production, and are for training only."""


@dataclass(frozen=True)
class Choice:
    """The rows chosen, and how many candidates were passed over as near copies."""

    rows: list[dict[str, Any]]
    copies: int


def choose(
    orders: Mapping[str | None, Iterator[Pick]],
    pool: Pool,
    labelled: Labelled,
    count: int,
    *,
    stratum: str | None = STRATUM,
    threshold: float = NEAR_COPY,
) -> Choice:
    """Take the best candidate of each lens in turn until `count` rows are chosen, or the pool is empty.

    A row gains `selected_by` (the strategy), `selection_score` (the strategy's: more is
    better), and `selected_for` (the lens, where there is one).

    Args:
        orders: The candidates of every lens, the most wanted first; the key None for no lens.
        pool: What they are candidates of.
        labelled: What they must not copy.
        count: How many rows.
        stratum: What the rows are marked as; None leaves their own, as a plain random draw may.
        threshold: The similarity from which two texts are near copies.
    """
    index = CopyIndex(threshold)
    for article in tqdm(labelled.articles, desc="labelled articles", unit="article", disable=None):
        index.add(normalised(article))
    chosen: list[dict[str, Any]] = []
    seen: set[int] = set()
    rest = dict(orders)
    copies = 0
    while rest and len(chosen) < count:
        for lens, order in list(rest.items()):
            for pick in order:
                if pick.index in seen:
                    continue
                seen.add(pick.index)
                if index.add(normalised(pool.articles[pick.index])):
                    copies += 1
                    continue
                chosen.append(_row(pool.rows[pick.index], pick, lens, stratum))
                break
            else:
                del rest[lens]
            if len(chosen) == count:
                break
    return Choice(chosen, copies)


def _row(row: Mapping[str, Any], pick: Pick, lens: str | None, stratum: str | None) -> dict[str, Any]:
    why = {"selected_by": pick.strategy, "selection_score": round(pick.score, 4)}
    return {
        **row, **({"stratum": stratum} if stratum else {}), **why, **({"selected_for": lens} if lens else {})
    }  # fmt: skip
