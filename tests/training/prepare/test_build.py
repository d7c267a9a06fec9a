"""From files to a data folder: copies, splits, runs, the card, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasketch")

from distilled_filters.errors import DistilledFiltersError
from distilled_filters.preprocess import Preprocessor
from distilled_filters.spec import read_lens_spec
from distilled_filters.training.data import DatasetError, SplitLeakError, read_examples, read_lenses
from distilled_filters.training.prepare import Settings, prepare
from tests.training.conftest import ROOT
from tests.training.prepare.conftest import LENS, OTHER, article, label, read, text, write

NAMES = read_lens_spec(ROOT / "filters" / LENS / "v1" / "filter.toml").dimension_names
HIGH, LOW = {LENS: [8.0] * 6}, {LENS: [2.0] * 6}
FILES = ("DATA.md", "articles.jsonl", "data.json", "labels.jsonl", "rejected.jsonl", "unlabelled.jsonl")


Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(tmp_path: Path, filters: Path) -> Make:
    """Prepare articles and labels into `tmp_path / output`; return the card."""

    def run(articles: list[Any], labels: list[Any], output: str = "data", **settings: Any) -> dict[str, Any]:
        sources = [write(tmp_path / "articles.jsonl", articles)]
        named = [write(tmp_path / "labels.jsonl", labels)]
        return prepare(sources, named, tmp_path / output, filters, Settings(**settings), "distillery prepare")

    return run


def many(count: int, **fields: Any) -> tuple[list[Any], list[Any]]:
    names = [f"row-{number}" for number in range(count)]
    runs = [HIGH if number % 10 == 0 else {} for number in range(count)]
    return [article(name, **fields) for name in names], [
        label(name, run) for name, run in zip(names, runs, strict=True)
    ]


def near(seed: int, words: int = 120) -> tuple[str, str]:
    """A text and a copy with one word changed."""
    first = text(seed, words).split()
    return " ".join(first), " ".join([*first[:50], "interrupted", *first[51:]])


def ids(folder: Path, name: str = "articles") -> list[str]:
    return [row["id"] for row in read(folder / "data" / f"{name}.jsonl")]


def runs_of(folder: Path) -> dict[str, list[Any]]:
    return {row["id"]: row["runs"] for row in read(folder / "data" / "labels.jsonl")}


def test_the_same_input_and_seed_give_the_same_bytes(make: Make, tmp_path: Path) -> None:
    articles, labels = many(60)
    for output in ("one", "two"):
        make([*articles, "{"], labels, output)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == list(FILES)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_training_reads_the_folder_and_averages_the_runs(
    make: Make, tmp_path: Path, filters: Path, preprocessor: Preprocessor
) -> None:
    articles, labels = many(40)
    labels[0] = label("row-0", HIGH, LOW)
    make(articles, labels)
    lenses = read_lenses(filters)
    examples = {example.id: example for example in read_examples(tmp_path / "data", lenses, preprocessor)}
    assert len(examples) == 40
    assert examples["row-0"].labels[LENS].dimensions.tolist() == [5.0] * 6
    assert {example.split for example in examples.values()} <= {"train", "calibration", "validation", "test"}


def test_exact_copies_become_one_article_with_more_runs(make: Make, tmp_path: Path) -> None:
    words = text(7)
    articles = [article("first", content=words), article("other"), article("copy", content=words.upper() + "!")]
    card = make(articles, [label("first", HIGH), label("copy", LOW), label("other")])
    assert ids(tmp_path) == ["first", "other"]
    assert runs_of(tmp_path)["first"] == [HIGH, LOW]
    assert card["duplicates"]["exact"] == {"first": ["copy"]}


def test_of_exact_copies_the_labelled_one_stays(make: Make, tmp_path: Path) -> None:
    words = text(7)
    make([article("bare", content=words), article("read", content=words)], [label("read", HIGH)])
    assert (ids(tmp_path), ids(tmp_path, "unlabelled")) == (["read"], [])


def test_near_copies_share_a_cluster_and_a_split_or_are_dropped(make: Make, tmp_path: Path) -> None:
    articles, labels = many(100)
    first, second = near(5)
    articles += [article("near-a", content=first), article("near-b", content=second)]
    labels += [label("near-a", HIGH), label("near-b", LOW)]
    for seed in range(3):
        make(articles, labels, seed=seed, held_out=0.6)
        rows = {row["id"]: row for row in read(tmp_path / "data" / "articles.jsonl")}
        assert rows["near-a"]["cluster"] == rows["near-b"]["cluster"] == "near-a"
        assert rows["near-a"]["split"] == rows["near-b"]["split"]
    card = make(articles, labels, drop_near=True)
    assert "near-b" not in ids(tmp_path)
    assert card["duplicates"]["dropped_near"] == {"near-a": ["near-b"]}
    assert runs_of(tmp_path)["near-a"] == [HIGH], "the label of another text is no further reading"


def test_given_clusters_are_kept_together(make: Make, tmp_path: Path) -> None:
    articles, labels = many(60)
    for row in articles[:30]:
        row["cluster"] = "series"
    make(articles, labels, held_out=0.5)
    rows = read(tmp_path / "data" / "articles.jsonl")
    assert len({row["split"] for row in rows if row["cluster"] == "series"}) == 1
    assert len({row["split"] for row in rows}) == 3


def test_unlabelled_copies_of_labelled_articles_say_their_split(make: Make, tmp_path: Path) -> None:
    first, second = near(5)
    make([article("a", content=first), article("b", content=second), article("c")], [label("a")])
    rows = {row["id"]: row for row in read(tmp_path / "data" / "unlabelled.jsonl")}
    assert rows["b"]["split"] == read(tmp_path / "data" / "articles.jsonl")[0]["split"]
    assert "split" not in rows["c"]


# --- splits that must stay ----------------------------------------------------------------------------


def test_keep_splits_moves_nothing_and_trains_on_what_is_new(make: Make, tmp_path: Path) -> None:
    articles, labels = many(30)
    for number, row in enumerate(articles[:20]):
        row["split"] = ("train", "validation", "test")[number % 3]
    make(articles, labels, keep_splits=True)
    found = {row["id"]: row["split"] for row in read(tmp_path / "data" / "articles.jsonl")}
    assert found == {row["id"]: row.get("split", "train") for row in articles}


def test_a_folder_prepared_again_stays_the_same(make: Make, tmp_path: Path) -> None:
    """What is written can be read, so that labels can be added to a folder."""
    articles, labels = many(40)
    first, second = near(5)
    articles += [article("near-a", content=first), article("near-b", content=second)]
    make(articles, [*labels, label("near-a", LOW, {LENS: None, OTHER: [3.0] * 6}), label("near-b")])
    make(
        read(tmp_path / "data" / "articles.jsonl"), read(tmp_path / "data" / "labels.jsonl"), "again", keep_splits=True
    )
    for name in ("articles.jsonl", "labels.jsonl"):
        assert (tmp_path / "data" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_leak_is_refused_with_the_pair_and_nothing_is_written(make: Make, tmp_path: Path) -> None:
    first, second = near(5)
    articles = [
        article("a", content=first, split="train"), article("b", content=second, split="test"),
        article("c", split="test"),
    ]  # fmt: skip
    with pytest.raises(SplitLeakError, match=r"b \(test\).*similarity 0\.9.*Remove the training row") as caught:
        make(articles, [label("a"), label("b"), label("c")], keep_splits=True)
    assert "a (train)" in str(caught.value)
    assert not (tmp_path / "data").exists()
    articles[1]["split"] = "train"
    make(articles, [label("a"), label("b"), label("c")], keep_splits=True)


def test_a_new_row_between_two_splits_stays_with_the_held_out_one(make: Make, tmp_path: Path) -> None:
    """It resembles both, which are no copies of each other: nothing leaks unless it is trained on."""
    words = text(9, words=100).split()
    ends = [" ".join([*text(90, 20).split(), *words[20:]]), " ".join([*words[:80], *text(91, 20).split()])]
    rows = [
        article("head", content=ends[0], split="train"), article("tail", content=ends[1], split="test"),
        article("middle", content=" ".join(words)),
    ]  # fmt: skip
    make(rows, [label("head"), label("tail")], keep_splits=True)
    (pooled,) = read(tmp_path / "data" / "unlabelled.jsonl")
    assert (pooled["cluster"], pooled["split"]) == ("tail", "test")
    make(rows, [label("head"), label("tail"), label("middle")], keep_splits=True)
    assert [row["reason"] for row in read(tmp_path / "data" / "rejected.jsonl")] == ["held_out_copy"]
    rows[0]["split"] = "validation"
    with pytest.raises(SplitLeakError, match=r"linked through copies: .*middle \(no split\)"):
        make(rows, [label("head"), label("tail")], keep_splits=True)


def test_equal_texts_leak_also_through_a_copy_without_a_split(make: Make) -> None:
    words = text(9)
    rows = [article("pool", content=words), *(article(name, content=words, split=name) for name in ("train", "test"))]
    with pytest.raises(SplitLeakError, match=r"train \(train\), test \(test\)"):
        make(rows, [label("train"), label("test")], keep_splits=True)


def test_a_cluster_in_two_splits_is_refused(make: Make) -> None:
    rows = [article("a", cluster="one", split="train"), article("b", cluster="one", split="validation")]
    with pytest.raises(SplitLeakError, match="one cluster"):
        make(rows, [label("a"), label("b")], keep_splits=True)


@pytest.mark.parametrize("exact", [True, False])
def test_a_new_copy_of_a_held_out_article_is_rejected(exact: bool, make: Make, tmp_path: Path) -> None:
    first, second = near(5)
    rows = [article("old", content=first, split="test"), article("new", content=first if exact else second)]
    make(rows, [label("old", LOW), label("new", HIGH)], keep_splits=True)
    assert runs_of(tmp_path) == {"old": [LOW]}
    (found,) = read(tmp_path / "data" / "rejected.jsonl")
    assert (found["id"], found["reason"]) == ("new", "held_out_copy")


def test_keep_splits_needs_splits_it_knows(make: Make, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no article has a split"):
        make([article("a")], [label("a")], keep_splits=True)
    make([article("a", split="dev"), article("b", split="train")], [label("b")], keep_splits=True)
    assert "split 'dev'" in read(tmp_path / "data" / "rejected.jsonl")[0]["message"]


def test_a_folder_with_a_leak_is_not_trained_on(
    make: Make, tmp_path: Path, filters: Path, preprocessor: Preprocessor
) -> None:
    make(*many(20))
    rows = read(tmp_path / "data" / "articles.jsonl")
    rows[1].update(cluster=rows[0]["cluster"], split="test" if rows[0]["split"] == "train" else "train")
    write(tmp_path / "data" / "articles.jsonl", rows)
    lenses = read_lenses(filters)
    with pytest.raises(SplitLeakError, match=r"cluster 'row-0' lies in two splits.*distillery prepare"):
        read_examples(tmp_path / "data", lenses, preprocessor)


# --- labels of one lens a row -------------------------------------------------------------------------


def oracle(id_: str, level: float, lens: str | None = LENS, **fields: Any) -> dict[str, Any]:
    names = read_lens_spec(ROOT / "filters" / (lens or LENS) / "v1" / "filter.toml").dimension_names
    named = {} if lens is None else {"filter": lens}
    return {"id": id_, **named, "dimensions": dict.fromkeys(reversed(names), level), "oracle": "scripted", **fields}


def test_rows_of_one_lens_are_runs_of_it_and_judge_no_other(make: Make, tmp_path: Path) -> None:
    rows = [article("a"), article("b")]
    card = make(rows, [oracle("a", 8, None), oracle("b", 1), oracle("a", 4)], lens=LENS)
    first, second = runs_of(tmp_path)["a"]
    assert (first[LENS], second[LENS]) == ([8.0] * 6, [4.0] * 6)
    assert first[OTHER] is None
    assert list(card["lenses"]) == [LENS]
    assert card["oracles"] == {"scripted": 3}
    assert card["lenses"][LENS]["self_agreement"] == {
        "articles": 1, "average_mae": 4.0, "tier_agreement": 0.0, "scope_agreement": 1.0,
    }  # fmt: skip
    assert any("only uplifting is labelled" in told for told in card["warnings"])


def test_a_lens_that_was_not_judged_is_no_zero_in_training(
    make: Make, tmp_path: Path, filters: Path, preprocessor: Preprocessor
) -> None:
    make([article("a")], [oracle("a", 8)])
    lenses = {lens.name: lens for lens in read_lenses(filters)}
    (example,) = read_examples(tmp_path / "data", [lenses[LENS]], preprocessor)
    assert example.labels[LENS].dimensions.tolist() == [8.0] * 6
    with pytest.raises(DatasetError, match="no reading of 'a' judged belonging"):
        read_examples(tmp_path / "data", list(lenses.values()), preprocessor)


def test_lenses_with_different_numbers_of_readings_keep_their_own_means(
    make: Make, tmp_path: Path, filters: Path
) -> None:
    from distilled_filters.training.prepare.labels import mean_scores

    make([article("a")], [oracle("a", 8), oracle("a", 4), oracle("a", 3, OTHER)])
    lenses = {lens.name: lens for lens in read_lenses(filters)}
    runs = runs_of(tmp_path)["a"]
    assert len(runs) == 2
    assert mean_scores(runs, lenses[LENS]) == [6.0] * 6
    assert mean_scores(runs, lenses[OTHER]) == [3.0] * 6


def test_an_article_labelled_for_some_lenses_only_is_rejected(make: Make, tmp_path: Path) -> None:
    labels = [oracle("a", 8), oracle("b", 8), oracle("b", 3, OTHER)]
    make([article("a"), article("b")], labels)
    (found,) = read(tmp_path / "data" / "rejected.jsonl")
    assert (found["id"], found["reason"]) == ("a", "incomplete")
    assert OTHER in found["message"]


def test_labels_of_another_prompt_are_told(make: Make, filters: Path) -> None:
    spec = next(lens for lens in read_lenses(filters) if lens.name == LENS)
    same = make([article("a")], [oracle("a", 8, prompt_sha256=spec.prompt_sha256)])
    other = make([article("a")], [oracle("a", 8, prompt_sha256="ab" * 32)])
    assert not any("prompt" in told for told in same["warnings"])
    assert any("prompt abababababab" in told for told in other["warnings"])


# --- the card -----------------------------------------------------------------------------------------


def test_the_card_counts_what_is_in_the_folder(make: Make, tmp_path: Path) -> None:
    articles, labels = many(60)
    articles[3].update(stratum="synthetic", language="nl")
    labels[1] = label("row-1", LOW, {})
    card = make([*articles, article("pool"), "{"], labels)
    rows = read(tmp_path / "data" / "articles.jsonl")
    assert sum(part["articles"] for part in card["splits"].values()) == len(rows) == 60
    assert sum(part["synthetic"] for part in card["splits"].values()) == sum(row["synthetic"] for row in rows) == 1
    assert sum(part["languages"].get("nl", 0) for part in card["splits"].values()) == 1
    counts = card["lenses"][LENS]["splits"].values()
    assert sum(each["in_scope"] for each in counts) == 7
    assert sum(each["high"] for each in counts) == 6
    assert card["lenses"][LENS]["histogram"] == [0, 1, 0, 0, 0, 0, 0, 0, 6, 0]
    assert card["lenses"][LENS]["self_agreement"]["articles"] == 1
    assert card["rejected"] == {"article: not_json": 1}
    assert card["unlabelled"]["articles"] == 1
    assert json.loads((tmp_path / "data" / "data.json").read_text(encoding="utf-8")) == json.loads(json.dumps(card))
    for name, each in card["outputs"].items():
        assert hashlib.sha256((tmp_path / "data" / name).read_bytes()).hexdigest() == each["sha256"]
    page = (tmp_path / "data" / "DATA.md").read_text(encoding="utf-8")
    for part in ("60 labelled articles", "| language nl |", "| stratum synthetic |", "article: not_json", "uplifting"):
        assert part in page


def test_a_folder_without_labels_is_refused(make: Make) -> None:
    with pytest.raises(DatasetError, match="do the ids of articles and labels agree"):
        make([article("a")], [label("b")])


def test_the_output_may_not_hold_an_input(make: Make) -> None:
    with pytest.raises(DatasetError, match="could be overwritten"):
        make([article("a")], [label("a")], output=".")


def test_half_a_surrogate_pair_is_written_as_it_came(make: Make, tmp_path: Path) -> None:
    make(['{"id": "a", "title": "x\\ud83d", "content": ' + json.dumps(text(4)) + "}"], [label("a")])
    assert read(tmp_path / "data" / "articles.jsonl")[0]["title"] == "x\ud83d"


def test_labels_keep_their_oracle_where_every_reading_names_one(make: Make, tmp_path: Path) -> None:
    articles, labels = many(3)
    copied = text(7)
    articles += [article("one", content=copied), article("copy", content=copied)]
    named = [{**label(id_, LOW), "oracle": oracle} for id_, oracle in (("one", "a"), ("copy", "b"), ("row-0", "a"))]
    make(articles, [*labels[1:], *named])
    assert {row["id"]: row.get("oracle") for row in read(tmp_path / "data" / "labels.jsonl")} == {
        "one": "a, b", "row-0": "a", "row-1": None, "row-2": None,
    }  # fmt: skip


def test_better_labels_take_the_place_of_others_lens_by_lens(make: Make, tmp_path: Path) -> None:
    articles, labels = many(20)
    labels[1] = label("row-1", {LENS: [8.0] * 6, OTHER: [7.0] * 6}, {LENS: [6.0] * 6, OTHER: [7.0] * 6})
    better = write(tmp_path / "replace.jsonl", [{"id": "row-1", "filter": LENS, "dimensions": dict.fromkeys(NAMES, 1)}])
    make(articles, labels, replace=(better,))
    runs = runs_of(tmp_path)["row-1"]
    assert [run[LENS] for run in runs if run.get(LENS, ()) is not None] == [[1.0] * 6]
    assert [run[OTHER] for run in runs if run.get(OTHER) is not None] == [[7.0] * 6] * 2
    assert len(runs_of(tmp_path)) == 20
    card = json.loads((tmp_path / "data" / "data.json").read_text(encoding="utf-8"))
    assert str(better) in [each["file"] for each in card["inputs"]]


def test_dropped_articles_are_left_out_and_told(make: Make, tmp_path: Path) -> None:
    articles, labels = many(20)
    drop = write(tmp_path / "drop.jsonl", [{"id": "row-3", "reason": "garbled"}])
    make(articles, labels, drop=(drop,))
    assert "row-3" not in ids(tmp_path)
    told = {row["kind"]: row["reason"] for row in read(tmp_path / "data" / "rejected.jsonl")}
    assert told == {"article": "dropped", "label": "article_rejected"}
    with pytest.raises(DistilledFiltersError, match=r"line 1 of .*no-ids"):
        make(articles, labels, drop=(write(tmp_path / "no-ids.jsonl", [{"reason": "garbled"}]),))
