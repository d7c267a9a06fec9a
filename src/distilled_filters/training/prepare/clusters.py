"""What follows from two rows being copies: one cluster, one split, and sometimes one row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from distilled_filters.training.data import SplitLeakError
from distilled_filters.training.prepare.duplicates import Pair, components
from distilled_filters.training.prepare.rows import ArticleRow, Reason, Rejection, Run

__all__ = ["declared", "one_of_each", "refuse_leaks", "without_bridges", "without_held_out_copies"]

_TRAIN = "train"
_LEAKS_SHOWN = 20


def declared(rows: Sequence[ArticleRow]) -> list[Pair]:
    """Join rows that name the same cluster; one that names none is its own."""
    first_of: dict[str, int] = {}
    pairs = []
    for index, row in enumerate(rows):
        first = first_of.setdefault(row.cluster or row.id, index)
        if first != index:
            pairs.append(Pair(first, index, None))
    return pairs


def without_bridges(rows: Sequence[ArticleRow], pairs: Sequence[Pair]) -> list[Pair]:
    """Leave out what joins training and held-out rows only through rows that have no split.

    Such a row stays with the held-out ones: it is none to train on, and the two that it
    resembles are no copies of each other.
    """
    certain = components(len(rows), [pair for pair in pairs if pair.exact or pair.similarity is None])
    splits = _splits_of(rows, certain)
    bridged = {frozenset[str](), frozenset({_TRAIN})}
    firsts = components(len(rows), pairs)
    torn = {first for first, found in _splits_of(rows, firsts).items() if len(found) > 1}
    return [
        pair
        for pair in pairs
        if firsts[pair.first] not in torn
        or {frozenset(splits[certain[row]]) for row in (pair.first, pair.second)} != bridged
    ]


def refuse_leaks(rows: Sequence[ArticleRow], pairs: Sequence[Pair]) -> None:
    """Refuse copies in two splits.

    Raises:
        SplitLeakError: listing them.
    """
    settled = {index: row.split for index, row in enumerate(rows) if row.split}
    firsts = components(len(rows), pairs)
    leaking = {first for first, splits in _splits_of(rows, firsts).items() if len(splits) > 1}
    if not leaking:
        return
    direct = [
        pair
        for pair in pairs
        if pair.first in settled and pair.second in settled and settled[pair.first] != settled[pair.second]
    ]
    linked = leaking - {firsts[pair.first] for pair in direct}
    lines = [
        f"{rows[pair.first].id} ({settled[pair.first]}) and {rows[pair.second].id} ({settled[pair.second]}), "
        + ("one cluster" if pair.similarity is None else f"similarity {pair.similarity:.2f}")
        for pair in sorted(direct, key=lambda pair: -(pair.similarity or 0))
    ]
    for first in sorted(linked):
        chain = [rows[index] for index, each in enumerate(firsts) if each == first]
        lines.append("linked through copies: " + ", ".join(f"{row.id} ({row.split or 'no split'})" for row in chain))
    more = f"; and {len(lines) - _LEAKS_SHOWN} more" if len(lines) > _LEAKS_SHOWN else ""
    raise SplitLeakError(
        f"copies of one article lie in two splits, in {len(leaking)} clusters, and nothing was written: "
        f"{'; '.join(lines[:_LEAKS_SHOWN])}{more}. Remove the training row of each, or give all its copies one split; "
        f"leave --keep-splits away to make new splits"
    )


def _splits_of(rows: Sequence[ArticleRow], firsts: Sequence[int]) -> dict[int, set[str]]:
    splits: dict[int, set[str]] = defaultdict(set)
    for row, first in zip(rows, firsts, strict=True):
        splits[first].update([row.split] if row.split else [])
    return splits


def without_held_out_copies(
    rows: Sequence[ArticleRow],
    clusters: Sequence[str],
    fixed: Mapping[str, str],
    runs: dict[str, list[Run]],
    rejected: list[Rejection],
) -> list[int]:
    """Reject new labelled rows that are copies of held-out ones, so that these stay as they are."""
    kept = []
    for index, row in enumerate(rows):
        split = fixed.get(clusters[index], _TRAIN)
        if row.split is not None or row.id not in runs or split == _TRAIN:
            kept.append(index)
            continue
        message = f"{row.place}: {row.id!r} copies an article of the {split} split, which stays as it is; leave it out"
        rejected.append(Rejection("article", row.id, Reason.HELD_OUT_COPY, message, row.place))
        del runs[row.id]
    return kept


def one_of_each(
    kept: Sequence[int], rows: Sequence[ArticleRow], pairs: Sequence[Pair], runs: Mapping[str, object]
) -> tuple[list[int], dict[str, list[str]]]:
    """Keep one row of each group of copies: a labelled one, then one with a split, then the first.

    Returns the rows kept, and the ids of the others by that of the one kept.
    """
    firsts = components(len(rows), pairs)
    groups: dict[int, list[int]] = defaultdict(list)
    for row in kept:
        groups[firsts[row]].append(row)
    best = {
        first: min(group, key=lambda row: (rows[row].id not in runs, rows[row].split is None, row))
        for first, group in groups.items()
    }
    dropped = {
        rows[best[first]].id: [rows[row].id for row in group if row != best[first]]
        for first, group in groups.items()
        if len(group) > 1
    }
    return sorted(best.values()), dropped
