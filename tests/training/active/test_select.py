"""`distillery select`: rows travel whole, and what is labelled or copied stays behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("sklearn")
pytest.importorskip("datasketch")

from distilled_filters.cli.app import app
from distilled_filters.training.active.strategies import MIX_PARTS
from tests.conftest import FILTERS, Document, rows

Select = Callable[..., Result]


def write(path: Path, documents: list[Document]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in documents), encoding="utf-8")
    return path


@pytest.fixture
def pool(tmp_path: Path, examples: list[Document]) -> Path:
    """The examples with a field of their own, and one of them twice under two ids."""
    articles = [{"id": f"a{number}", **row, "source": f"paper {number}"} for number, row in enumerate(examples)]
    articles = [{**row, "id": f"a{number}"} for number, row in enumerate(articles)]
    copy = {**articles[0], "id": "copy", "content": articles[0]["content"] + " So it was."}
    return write(tmp_path / "pool.jsonl", [*articles, copy])


@pytest.fixture
def select(tmp_path: Path, pool: Path) -> Select:
    def run(*options: str, source: Path = pool) -> Result:
        return CliRunner().invoke(app, ["select", str(source), "-o", str(tmp_path / "picked.jsonl"), *options])

    return run


def test_rows_travel_whole_with_why_they_were_chosen(select: Select, tmp_path: Path, pool: Path) -> None:
    done = select("-f", "uplifting", "-n", "5")
    assert done.exit_code == 0, done.stderr
    chosen, given = rows(tmp_path / "picked.jsonl"), {row["id"]: row for row in rows(pool)}
    assert len({row["id"] for row in chosen}) == 5
    for row in chosen:
        assert given[row["id"]].items() - {("stratum", given[row["id"]].get("stratum"))} <= row.items()
        assert row["stratum"] == "selected"
        assert row["selected_for"] == "uplifting"
        assert row["selected_by"] in set(MIX_PARTS)
        assert isinstance(row["selection_score"], float)


def test_the_same_seed_gives_the_same_bytes(select: Select, tmp_path: Path) -> None:
    first = [select("-f", "uplifting", "--seed", "4", "--force"), (tmp_path / "picked.jsonl").read_bytes()]
    second = [select("-f", "uplifting", "--seed", "4", "--force"), (tmp_path / "picked.jsonl").read_bytes()]
    assert first[1] == second[1]


def test_predicted_high_takes_what_scores_best(select: Select, tmp_path: Path) -> None:
    assert select("-f", "uplifting", "--strategy", "predicted-high", "-n", "12").exit_code == 0
    scores = [row["selection_score"] for row in rows(tmp_path / "picked.jsonl")]
    assert scores == sorted(scores, reverse=True)


def test_two_lenses_take_turns(select: Select, tmp_path: Path) -> None:
    folder = FILTERS / "belonging" / "v1"
    assert select("-f", "uplifting", "-f", str(folder), "-n", "4").exit_code == 0
    assert [row["selected_for"] for row in rows(tmp_path / "picked.jsonl")] == ["uplifting", "belonging"] * 2


def test_near_copies_and_labelled_articles_stay_behind(select: Select, tmp_path: Path, pool: Path) -> None:
    given = rows(pool)
    labelled = write(tmp_path / "labelled.jsonl", [{"id": "a1", "runs": [{}]}, {**given[2], "id": "other"}])
    done = select("--strategy", "random", "-n", "50", "--labelled", str(labelled), "--json")
    report = json.loads(done.stdout)
    chosen = [row["id"] for row in rows(tmp_path / "picked.jsonl")]
    assert report["left_out"] == {"labelled": 1}
    assert report["near_copies"] == 2, "one of a0 and its copy, and a2, which is labelled under another id"
    assert "a1" not in chosen
    assert "a2" not in chosen
    assert len({"a0", "copy"} & set(chosen)) == 1


def test_a_random_draw_leaves_the_stratum(select: Select, tmp_path: Path) -> None:
    assert select("--strategy", "random", "-n", "2").exit_code == 0
    assert all(row.get("stratum") != "selected" for row in rows(tmp_path / "picked.jsonl"))


def test_seeds_need_no_filter(select: Select, tmp_path: Path, pool: Path) -> None:
    """A lens without a student: what is nearest to a known positive comes first, and that is itself."""
    seeds = write(tmp_path / "seeds.jsonl", rows(pool)[3:4])
    assert select("--seeds", str(seeds), "-n", "3").exit_code == 0
    best = rows(tmp_path / "picked.jsonl")[0]
    assert best["id"] == "a3"
    assert best["selection_score"] == pytest.approx(1.0, abs=1e-3)


def test_disagreement_with_another_filter(select: Select) -> None:
    done = select("-f", "uplifting", "--strategy", "disagreement", "--against", "belonging", "-n", "3", "--json")
    assert json.loads(done.stdout)["by_strategy"] == {"disagreement": 3}


def test_unreadable_rows_are_counted(select: Select, tmp_path: Path) -> None:
    twice = [{**row, "id": "a"} for row in rows(tmp_path / "pool.jsonl")[:2]]
    source = write(tmp_path / "mixed.jsonl", [{"id": "x", "content": ""}, {"content": "no id"}, *twice])
    report = json.loads(select("-f", "uplifting", "--json", source=source).stdout)
    assert report["left_out"] == {"no id": 1, "repeated id": 1, "no_content": 1}
    assert report["chosen"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "name one"),
        (("--strategy", "seeds"), "--seeds"),
        (("-f", "uplifting", "--against", "belonging"), "disagreement"),
        (("-f", "upliftin"), "uplifting"),
    ],
)
def test_contradictions_are_refused(select: Select, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = select(*options)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (tmp_path / "picked.jsonl").exists()


def test_an_earlier_choice_is_not_overwritten(select: Select, tmp_path: Path) -> None:
    (tmp_path / "picked.jsonl").write_text("with the oracle")
    assert "--force" in select("-f", "uplifting").stderr
    assert (tmp_path / "picked.jsonl").read_text() == "with the oracle"


def test_a_pool_of_nothing_says_why(select: Select, tmp_path: Path, pool: Path) -> None:
    done = select("-f", "uplifting", "--labelled", str(pool))
    assert done.exit_code == 2
    assert "13 labelled" in done.stderr


def test_a_pool_of_copies_leaves_nothing_to_select(select: Select, tmp_path: Path, pool: Path) -> None:
    known = write(tmp_path / "known.jsonl", [{**row, "id": f"known-{row['id']}"} for row in rows(pool)])
    done = select("-f", "uplifting", "--strategy", "random", "--labelled", str(known), "--json")
    assert done.exit_code == 1
    assert "nothing left to select" in done.stderr
    assert json.loads(done.stdout)["chosen"] == 0
    assert not (tmp_path / "picked.jsonl").exists()


def test_a_seed_that_is_no_article_is_named(select: Select, tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text("not json\n", encoding="utf-8")
    done = select("--seeds", str(tmp_path / "seeds.jsonl"))
    assert done.exit_code == 2
    assert "seed 1 cannot be read: " in done.stderr
    assert "RecordError" not in done.stderr
