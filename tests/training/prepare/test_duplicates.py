"""Copies are found in any script, and what is no copy stays apart."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("datasketch")

from distilled_filters.article import Article
from distilled_filters.training.prepare.duplicates import (
    Pair,
    components,
    find_copies,
    normalised,
)
from tests.training.prepare.conftest import text


def pairs(texts: list[str], threshold: float = 0.6) -> set[tuple[int, int]]:
    return {(pair.first, pair.second) for pair in find_copies(texts, threshold)}


def test_layout_case_marks_and_markup_do_not_part_exact_copies() -> None:
    plain = Article("Good news", "The river is clean again, and the otters are back.")
    dressed = Article("GOOD NEWS!", "<p>The river is clean again — and the <b>otters</b> are back</p>")
    other = Article("Good news", "The river is clean again, and the otters are gone.")
    assert normalised(plain) == normalised(dressed)
    assert normalised(plain) != normalised(other)


def test_near_copies_are_found_with_their_similarity() -> None:
    words = text(1, words=200).split()
    changed = [*words[:100], "interrupted", *words[101:]]
    (pair,) = find_copies([" ".join(words), text(2), " ".join(changed), text(3)], 0.6)
    assert (pair.first, pair.second, pair.exact) == (0, 2, False)
    assert pair.similarity is not None
    assert 0.9 < pair.similarity < 1


def test_similarity_is_the_jaccard_index_of_the_shingles() -> None:
    """Nine characters a shingle: 12 and 13 characters have 4 and 5 of them, 4 in common."""
    (pair,) = find_copies(["abcdefghijkl", "abcdefghijklm"], 0.6)
    assert pair.similarity == pytest.approx(4 / 5)
    assert find_copies(["abcdefghijkl", "abcdefghijklm"], 0.81) == []


def test_scripts_without_spaces_have_near_copies_too() -> None:
    chance = random.Random(0)
    characters = [chr(0x4E00 + chance.randrange(2000)) for _ in range(400)]
    changed = "".join([*characters[:200], "新", *characters[201:]])
    assert pairs(["".join(characters), changed, "".join(reversed(characters))]) == {(0, 1)}


def test_texts_of_one_vocabulary_are_no_copies() -> None:
    assert pairs([text(seed) for seed in range(40)]) == set()


def test_exact_copies_point_to_the_first() -> None:
    assert find_copies(["same", "other words", "same", "same"], 0.6) == [
        Pair(0, 2, 1.0, exact=True), Pair(0, 3, 1.0, exact=True),
    ]  # fmt: skip


def test_components_are_joined_through_others() -> None:
    assert components(5, [Pair(0, 3, 0.7), Pair(3, 4, 0.7)]) == [0, 1, 2, 0, 0]
    assert components(2, []) == [0, 1]
