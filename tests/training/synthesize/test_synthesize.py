"""`distillery synthesize` with a scripted writer and labeller: gaps filled, copies refused, labels independent."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("openai")
pytest.importorskip("datasketch")

from distilled_filters.cli.app import app
from distilled_filters.decision import verdict
from distilled_filters.training.synthesize.gaps import LOOK_ALIKE, cells_of, count_cells, wishes
from examples.walkthrough.server import Ask, ScriptedOracle
from tests.conftest import Document, rows
from tests.training.oracle.conftest import LENS, NAMES, answer, arguments, write

Synthesize = Callable[..., Result]


@pytest.fixture
def data(tmp_path: Path, examples: list[Document]) -> Path:
    """Some examples, the English ones high, the others out of scope."""
    articles = [{**row, "id": f"a{number}", "split": "train"} for number, row in enumerate(examples)]
    labels = [
        {"id": row["id"], "runs": [{"uplifting": [7.0] * len(NAMES)} if row["language"] == "en" else {}]}
        for row in articles
    ]
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "articles.jsonl", articles)
    write(folder / "labels.jsonl", labels)
    return folder


@pytest.fixture
def synthesize(tmp_path: Path, data: Path) -> Synthesize:
    def run(server: ScriptedOracle, *options: str) -> Result:
        where = arguments(server.url, Path("unused"), tmp_path / "written", ("writer",))
        where = [part for part in where if part not in ("--source", "unused")]
        return CliRunner().invoke(app, ["synthesize", "--data", str(data), *where, *options])

    return run


def is_writing(ask: Ask) -> bool:
    return ask.text.startswith("You write")


def written(ask: Ask) -> dict[str, Any]:
    """An article of its own for every question."""
    words = [f"w{random.Random(ask.text + ask.key).randrange(10**6)}x{number}" for number in range(150)]
    return {"title": f"A story {words[0]}", "content": " ".join(words) + "."}


def both(ask: Ask) -> dict[str, Any]:
    return written(ask) if is_writing(ask) else answer([5.0] * len(NAMES), "")


def test_wishes_fill_what_is_least(data: Path) -> None:
    counts = count_cells(data, LENS)
    assert {cell[0] for cell in counts} == {"high"}
    cells = cells_of(LENS, languages=["en", "nl"])
    assert set(cells) == {(kind, language) for kind in ("high", "medium", LOOK_ALIKE) for language in ("en", "nl")}
    made = wishes(LENS, counts, cells, 5, seed=0)
    assert Counter((wish.kind, wish.language) for wish in made) == Counter(set(cells) - {("high", "en")})
    assert wishes(LENS, counts, cells, 5, seed=0) == made


@pytest.mark.parametrize("kind", ["high", "medium", LOOK_ALIKE])
def test_targets_are_of_the_tier_that_is_wished_for(kind: str) -> None:
    for wish in wishes(LENS, Counter(), cells_of(LENS, [kind]), 50, seed=1):
        _, tier = verdict(wish.scores, LENS)
        assert tier == ("low" if kind == LOOK_ALIKE else kind)
        assert any(wish.scores)
        assert all((2 * score).is_integer() and 0 <= score <= 10 for score in wish.scores)


def test_articles_are_marked_and_labelled_by_one_who_does_not_know(synthesize: Synthesize, tmp_path: Path) -> None:
    with ScriptedOracle(both) as server:
        done = synthesize(server, "-n", "6", "--label-model", "reader", "--json")
    assert done.exit_code in (0, 1), done.stderr
    articles = rows(tmp_path / "written" / "articles.jsonl")
    assert len({row["id"] for row in articles}) == 6
    for row in articles:
        assert row["stratum"] == "synthetic"
        assert row["origin"] == "written by writer"
        assert set(row["target"]["dimensions"]) == set(NAMES)
        assert row["language"] in LENS.languages
    asked: dict[bool, list[Ask]] = {True: [], False: []}
    for ask in server.asks:
        asked[is_writing(ask)].append(ask)
    assert {ask.body["model"] for ask in asked[True]} == {"writer"}
    assert {ask.body["model"] for ask in asked[False]} == {"reader"}
    assert not any("must give it these scores" in ask.text for ask in asked[False])


def test_labels_are_held_against_targets(synthesize: Synthesize, tmp_path: Path) -> None:
    quote = re.compile(r"Title: .*?\n\n(\S+ \S+)")

    def medium(ask: Ask) -> dict[str, Any]:
        return written(ask) if is_writing(ask) else answer([5.0] * len(NAMES), quote.search(ask.text)[1])  # type: ignore[index]

    with ScriptedOracle(medium) as server:
        done = synthesize(server, "-n", "4", "--kind", "medium", "--kind", LOOK_ALIKE, "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 0, done.stderr
    assert report["targets"]["kinds"] == {"medium": {"n": 2, "as_wished": 1.0}, LOOK_ALIKE: {"n": 2, "as_wished": 0.0}}
    assert json.loads((tmp_path / "written" / "synthesize.json").read_text()) == report
    assert {row["id"] for row in rows(tmp_path / "written" / "labels" / "labels.jsonl")} == {
        row["id"] for row in rows(tmp_path / "written" / "articles.jsonl")
    }


def test_near_copies_of_real_articles_are_refused(
    synthesize: Synthesize, tmp_path: Path, examples: list[Document]
) -> None:
    real = examples[0]

    def copying(ask: Ask) -> dict[str, Any]:
        if ask.number == 1:
            return {"title": real["title"], "content": real["content"].replace("the", "this", 1) + " So it was."}
        return written(ask)

    with ScriptedOracle(copying) as server:
        done = synthesize(server, "-n", "3", "--no-label", "--concurrency", "1", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["near_copies"] == 1
    (refused,) = rows(tmp_path / "written" / "refused.jsonl")
    assert refused["title"] == real["title"]
    assert refused["similarity"] > 0.6
    assert len(rows(tmp_path / "written" / "articles.jsonl")) == 2


def test_a_second_run_pays_nothing(synthesize: Synthesize, tmp_path: Path) -> None:
    with ScriptedOracle(written) as server:
        synthesize(server, "-n", "3", "--no-label")
        first = (tmp_path / "written" / "articles.jsonl").read_bytes()
        synthesize(server, "-n", "3", "--no-label")
        assert len(server.asks) == 3
        synthesize(server, "-n", "3", "--no-label", "--seed", "1")
        assert len(server.asks) == 6
    assert first != (tmp_path / "written" / "articles.jsonl").read_bytes()


def test_what_was_not_written_is_told_with_a_reason(synthesize: Synthesize) -> None:
    with ScriptedOracle(lambda ask: {"verse": "fine"}) as server:
        done = synthesize(server, "-n", "2")
    assert done.exit_code == 1
    assert "not written: wrong_schema: 2; title: required" in done.stdout
    assert "language:" not in done.stdout


@pytest.mark.parametrize("options", [("--kind", "low"), ("--language", "xx")])
def test_unknown_kinds_and_languages_are_refused(synthesize: Synthesize, options: tuple[str, str]) -> None:
    with ScriptedOracle(written) as server:
        done = synthesize(server, *options)
        assert done.exit_code == 2
        assert options[1] in done.stderr
        assert not server.asks
