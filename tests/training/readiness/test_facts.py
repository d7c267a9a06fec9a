"""What is measured of a small data folder, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("datasketch")
pytest.importorskip("phonenumbers")

from distilled_filters.training.data import DatasetError, read_lenses
from distilled_filters.training.prepare import Settings, prepare
from distilled_filters.training.prepare.rows import Run
from distilled_filters.training.readiness.agreement import agreement
from distilled_filters.training.readiness.facts import measure
from distilled_filters.training.readiness.material import read_material
from distilled_filters.training.readiness.privacy import search
from distilled_filters.training.readiness.redundancy import redundancy
from tests.training.prepare.conftest import LENS, OTHER, article, read, write


def test_facts_of_a_folder(data: Path, filters: Path) -> None:
    material = read_material(data, [], filters, [LENS])
    facts = measure(material, filters, search(material.articles), [])
    assert (facts.articles, facts.labelled, facts.refused) == (60, 60, {"no_content": 1})
    assert facts.splits == {"train": 36, "test": 12, "validation": 12}
    assert facts.strata == {"natural": 60}
    assert facts.sources == {"paper 0": 20, "paper 1": 20, "paper 2": 20}
    assert (facts.reviewed, facts.read_twice) == (1, 20)
    assert (facts.copies.exact, facts.copies.leaks, facts.copies.contradictions) == (1, 1, 1)
    assert facts.privacy is not None
    assert facts.privacy.affected == 1
    assert facts.truncated == pytest.approx(np.mean([count > facts.window for count in facts.tokens]), abs=0.1)
    (lens,) = facts.lenses
    assert (lens.labelled, lens.in_scope, sum(lens.histogram)) == (60, 36, 36)
    assert lens.tiers == {"high": 12, "medium": 12, "low": 36}
    assert lens.reaching == {"all": 24, "held_out": 24, "real": 24}
    assert lens.yields == {"natural": {"labelled": 60, "reaching": 24}}
    assert lens.agreement is not None
    assert (lens.agreement["articles"], lens.agreement["average_mae"], lens.agreement["tier_kappa"]) == (20, 0.0, 1.0)
    assert lens.redundancy is not None
    assert lens.redundancy.first_component > 0.8
    assert lens.release.prompt_holds is None
    json.dumps(facts.document())


def test_a_file_of_articles_needs_its_labels_beside_it_or_named(data: Path, filters: Path) -> None:
    whole = read_material(data, [], filters)
    assert [lens.name for lens in whole.lenses] == [OTHER, LENS]
    file, elsewhere = data / "articles.jsonl", data.parent / "mine.jsonl"
    assert read_material(file, [], filters).runs == whole.runs
    (data / "labels.jsonl").rename(elsewhere)
    with pytest.raises(FileNotFoundError, match=r"labels\.jsonl; give a folder"):
        read_material(file, [], filters)
    assert read_material(file, [elsewhere], filters).runs == whole.runs


def test_a_folder_prepared_for_one_lens_is_judged_for_that_lens(data: Path, filters: Path) -> None:
    """`prepare` writes lenses that nobody was asked about as null."""
    names = [lens.name for lens in read_lenses(filters)]
    scores = [5.0] * len(next(lens for lens in read_lenses(filters) if lens.name == LENS).dimensions)
    run = {name: scores if name == LENS else None for name in names}
    write(data / "labels.jsonl", [{"id": f"row-{n}", "runs": [run]} for n in range(9)])
    assert [lens.name for lens in read_material(data, [], filters).lenses] == [LENS]


def test_labels_of_one_lens_decide_what_is_judged(data: Path, filters: Path) -> None:
    dimensions = dict.fromkeys(read_lenses(filters)[1].dimension_names, 5.0)
    rows = [
        {"id": f"row-{n}", "filter": LENS, "dimensions": dimensions, "oracle": "human", "prompt_sha256": "0" * 64}
        for n in range(9)
    ]
    write(data / "labels.jsonl", rows)
    material = read_material(data, [], filters)
    facts = measure(material, filters, None, [])
    assert [lens.name for lens in facts.lenses] == [LENS]
    assert (facts.labelled, facts.reviewed, facts.oracles) == (9, 10 - 1, {"human": 9})
    assert facts.lenses[0].prompts == ["0" * 64]


@pytest.mark.parametrize(
    ("articles", "labels", "names", "message"),
    [
        ([], [{"id": "a", "runs": [{}]}], [], "no article of .*the file is empty"),
        ([article("a")], ["{"], [], "no good label in .*line 1"),
        ([article("a")], [{"id": "b", "runs": [{}]}], [], "has the id of a readable article"),
        ([article("a")], [{"id": "a", "runs": [{}]}], ["uplift"], "no lens uplift in .*known are belonging, uplifting"),
    ],
)
def test_what_cannot_be_judged_is_an_error_that_says_why(
    articles: list[object], labels: list[object], names: list[str], message: str, tmp_path: Path, filters: Path
) -> None:
    write(tmp_path / "articles.jsonl", articles)
    write(tmp_path / "labels.jsonl", labels)
    with pytest.raises(DatasetError, match=message):
        read_material(tmp_path, [], filters, names)


def test_a_card_holds_only_for_its_own_files(data: Path, filters: Path) -> None:
    from distilled_filters.checkpoints import sha256_of

    assert read_material(data, [], filters).card_holds is None
    names = ("articles.jsonl", "labels.jsonl")
    card = {"outputs": {name: {"sha256": sha256_of(data / name)} for name in names}}
    (data / "data.json").write_text(json.dumps(card))
    assert read_material(data, [], filters).card_holds is True
    write(data / "articles.jsonl", read(data / "articles.jsonl")[:50])
    assert read_material(data, [], filters).card_holds is False
    (data / "data.json").write_text("[]")
    assert read_material(data, [], filters).card_holds is False


def test_redundancy_tells_one_question_from_six(filters: Path) -> None:
    lens = read_lenses(filters)[1]
    chance = np.random.default_rng(0)
    same = redundancy(np.repeat(chance.uniform(1, 9, (200, 1)), 6, axis=1).tolist(), lens)
    apart = redundancy(chance.uniform(1, 9, (2000, 6)).tolist(), lens)
    assert same is not None
    assert same.first_component == pytest.approx(1.0)
    assert abs(same.closest[2]) == pytest.approx(1.0)
    assert apart is not None
    assert apart.first_component == pytest.approx(1 / 6, abs=0.03)
    assert redundancy([[5.0] * 6] * 100, lens) is None
    assert redundancy(chance.uniform(1, 9, (29, 6)).tolist(), lens) is None


def test_kappa_sees_an_oracle_that_guesses_where_agreement_does_not(filters: Path) -> None:
    lens = read_lenses(filters)[1]
    low: Run = {}
    high: Run = {LENS: [7.0] * 6}
    guessed = [[low, low]] * 96 + [[high, low], [low, high]] * 2
    found = agreement(guessed, lens)
    assert found is not None
    assert found["tier_agreement"] == 0.96
    assert found["tier_kappa"] < 0.05
    sure = agreement([[low, low]] * 96 + [[high, high]] * 4, lens)
    assert sure is not None
    assert sure["tier_kappa"] == 1.0
    assert (agreement([[low, low]] * 9, lens) or {})["tier_kappa"] is None
    assert agreement([[low]], lens) is None


def test_a_prepared_folder_still_knows_who_labelled(tmp_path: Path, filters: Path) -> None:
    """`prepare` merges rows into runs without names; its card keeps them."""
    names = next(lens for lens in read_lenses(filters) if lens.name == LENS).dimension_names
    rows = [
        {
            "id": f"row-{n}", "filter": LENS, "dimensions": dict.fromkeys(names, n % 9), "oracle": "large",
            "prompt_sha256": "0" * 64,
        }
        for n in range(30)
    ]  # fmt: skip
    articles = write(tmp_path / "articles.jsonl", [article(f"row-{n}") for n in range(30)])
    prepare([articles], [write(tmp_path / "labels.jsonl", rows)], tmp_path / "made", filters, Settings(), "prepare")
    facts = measure(read_material(tmp_path / "made", [], filters), filters, None, [])
    assert (facts.oracles, facts.label_rows, facts.card_holds) == ({"large": 30}, 30, True)
    assert facts.lenses[0].prompts == ["0" * 64]
