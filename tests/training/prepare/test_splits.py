"""Splits: the share, the strata, the seed, and how little moves when rows are added."""

from __future__ import annotations

import random

import pytest

from distilled_filters.training.prepare.splits import Unit, assign


def units(count: int, start: int = 0) -> list[Unit]:
    """Clusters in three languages, of which one in twenty reaches the medium tier of one of two lenses."""
    made = []
    for number in range(start, start + count):
        chance = random.Random(number)
        levels: set[tuple[str, str]] = set()
        if chance.random() < 0.1:
            lens = chance.choice(["uplifting", "belonging"])
            levels.add((lens, "scope"))
            if chance.random() < 0.5:
                levels.add((lens, "medium"))
        made.append(Unit(f"cluster-{number}", ("real", chance.choice(["en", "en", "nl", "es"])), frozenset(levels)))
    return made


def test_the_share_is_held_out_half_and_half() -> None:
    splits = list(assign(units(2000), 0.2, seed=1).values())
    assert splits.count("test") == pytest.approx(200, abs=5)
    assert splits.count("validation") == pytest.approx(200, abs=5)


def test_every_language_and_rare_level_has_its_share() -> None:
    made = units(4000)
    splits = assign(made, 0.2, seed=1)
    for language in ("en", "nl", "es"):
        chosen = [splits[unit.name] for unit in made if language in unit.kind]
        assert chosen.count("test") / len(chosen) == pytest.approx(0.1, abs=0.01)
    for lens in ("uplifting", "belonging"):
        chosen = [splits[unit.name] for unit in made if (lens, "medium") in unit.levels]
        assert chosen.count("test") == pytest.approx(len(chosen) * 0.1, abs=3)
        assert chosen.count("validation") == pytest.approx(len(chosen) * 0.1, abs=3)


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    made = units(500)
    assert assign(made, 0.2, seed=1) == assign(made[::-1], 0.2, seed=1)
    assert assign(made, 0.2, seed=1) != assign(made, 0.2, seed=2)


def test_few_move_when_rows_are_added() -> None:
    before = assign(units(2000), 0.2, seed=1)
    after = assign(units(2200), 0.2, seed=1)
    moved = [name for name, split in before.items() if after[name] != split]
    assert len(moved) <= 0.02 * len(before)
    assert not any({before[name], after[name]} == {"validation", "test"} for name in moved)


def test_a_train_only_unit_is_never_held_out() -> None:
    made = [Unit(f"c{number}", ("real", "en"), frozenset(), train_only=number % 2 == 0) for number in range(400)]
    splits = assign(made, 0.25, seed=3)
    assert {splits[unit.name] for unit in made if unit.train_only} == {"train"}
    assert sum(split != "train" for split in splits.values()) == pytest.approx(100, abs=2), "a quarter of all"


def test_small_strata_add_up() -> None:
    """Forty strata of three: rounded alone they would hold out none, or be off by luck."""
    made = [Unit(f"c{n}", ("real", f"l{n % 40}"), frozenset({("uplifting", "high")})) for n in range(120)]
    splits = list(assign(made, 0.2, seed=5).values())
    assert splits.count("test") == splits.count("validation") == 12


def test_nothing_held_out() -> None:
    assert set(assign(units(100), 0.0, seed=1).values()) == {"train"}
