"""`distillery judge` with a scripted judge: who is who stays hidden, and advice follows from what it said."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("openai")
pytest.importorskip("sklearn")

from distilled_filters.cli.app import app
from distilled_filters.training.judge.cases import Case, doubtful
from distilled_filters.training.judge.findings import Advice, Finding, weak_spots
from distilled_filters.training.judge.question import Opinion
from examples.walkthrough.server import Ask, ScriptedOracle
from tests.conftest import FILTERS, Document, edited, rows
from tests.training.oracle.conftest import LENS, NAMES, arguments, write

LABEL = 5.0
Judge = Callable[..., Result]


@pytest.fixture
def data(tmp_path: Path, examples: list[Document]) -> Path:
    """The example articles, all labelled alike; the last two are held out for test."""
    articles, labels = [], []
    for number, row in enumerate(examples):
        split = "test" if number >= len(examples) - 2 else "train"
        articles.append({**row, "id": f"a{number}", "stratum": "natural", "cluster": f"a{number}", "split": split})
        labels.append({"id": f"a{number}", "runs": [{"uplifting": [LABEL] * len(NAMES)}]})
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "articles.jsonl", articles)
    write(folder / "labels.jsonl", labels)
    return folder


@pytest.fixture
def judge(tmp_path: Path, data: Path) -> Judge:
    def run(server: ScriptedOracle, *options: str, filters: Path = FILTERS) -> Result:
        where = arguments(server.url, Path("unused"), tmp_path / "judged")
        where = [part for part in where if part not in ("--source", "unused")]
        where[where.index("--filters") + 1] = str(filters)
        return CliRunner().invoke(app, ["judge", "--data", str(data), *where, *options])

    return run


def sides(ask: Ask) -> dict[str, dict[str, float]]:
    found = re.findall(r"Judgement ([AB]): (\{.*?\})", ask.text)
    return {side: json.loads(scores) for side, scores in found}


def said(ask: Ask, label: float, student: float, article: str = "sound") -> dict[str, Any]:
    """An opinion of the side that is the label, and of the other."""
    is_label = {side: set(scores.values()) == {LABEL} for side, scores in sides(ask).items()}
    fit = {side.lower(): label if is_label[side] else student for side in "AB"}
    return {"dimensions": dict.fromkeys(NAMES, 2.0), **fit, "article": article, "reason": "It says so."}


def test_the_pair_is_blind_and_its_order_random(judge: Judge, tmp_path: Path) -> None:
    with ScriptedOracle(lambda ask: said(ask, 5, 5)) as server:
        done = judge(server)
    assert done.exit_code == 0, done.stderr
    assert len(server.asks) == 10, "the test split is left alone"
    firsts = {set(sides(ask)["A"].values()) == {LABEL} for ask in server.asks}
    assert firsts == {True, False}
    for ask in server.asks:
        assert all((2 * score).is_integer() for side in sides(ask).values() for score in side.values())
        assert not re.search(r"\b(student|oracle)\b", ask.text.split("## Two judgements")[1], re.IGNORECASE)


def test_advice_becomes_files_that_other_commands_read(judge: Judge, tmp_path: Path, data: Path) -> None:
    """By the order of questions: the label is wrong, both are wrong, the article is none, the label holds."""
    opinions = [(2.0, 8.0, "sound"), (1.0, 1.0, "sound"), (0.0, 9.0, "unfit"), (8.0, 3.0, "sound")]

    def answer(ask: Ask) -> dict[str, Any]:
        label, student, article = opinions[ask.number]
        return said(ask, label, student, article)

    with ScriptedOracle(answer) as server:
        done = judge(server, "-n", "4", "--concurrency", "1", "--json")
    report, judged = json.loads(done.stdout), rows(tmp_path / "judged" / "judged.jsonl")
    assert report["advice"] == {"keep": 1, "relabel": 1, "replace": 1, "drop": 1}
    advice = {row["advice"]: row for row in judged}
    assert advice["relabel"]["fit"] == {"student": 8.0, "oracle": 2.0}
    assert advice["keep"]["dimensions"]["oracle"] == dict.fromkeys(NAMES, LABEL)
    given = {row["id"]: row for row in rows(data / "articles.jsonl")}
    (again,) = rows(tmp_path / "judged" / "relabel.jsonl")
    assert again == given[advice["relabel"]["id"]]
    (label,) = rows(tmp_path / "judged" / "replace.jsonl")
    assert (label["id"], label["filter"], set(label["dimensions"].values())) == (
        advice["replace"]["id"],
        "uplifting",
        {2.0},
    )
    (dropped,) = rows(tmp_path / "judged" / "drop.jsonl")
    assert dropped["id"] == advice["drop"]["id"]
    assert report["spending"]["usd"] == pytest.approx(server.account.usd, abs=1e-6)


def test_a_second_run_asks_nothing(judge: Judge, tmp_path: Path) -> None:
    with ScriptedOracle(lambda ask: said(ask, 5, 5)) as server:
        judge(server, "-n", "3")
        first = (tmp_path / "judged" / "judged.jsonl").read_bytes()
        judge(server, "-n", "3")
        assert len(server.asks) == 3
    assert (tmp_path / "judged" / "judged.jsonl").read_bytes() == first


def test_a_folder_of_other_work_is_left_alone(judge: Judge, tmp_path: Path) -> None:
    labelled = tmp_path / "judged"
    labelled.mkdir()
    (labelled / "label.json").write_text("{}", encoding="utf-8")
    with ScriptedOracle(lambda ask: said(ask, 5, 5)) as server:
        refused = judge(server, "-n", "3")
        assert refused.exit_code == 2
        assert "holds other files; choose another --output" in " ".join(refused.output.split())
        assert server.asks == []
    assert [path.name for path in labelled.iterdir()] == ["label.json"]


def test_a_folder_is_bound_to_a_prompt_once_something_was_asked(judge: Judge, tmp_path: Path) -> None:
    record = tmp_path / "judged" / "job.json"

    def sharpen() -> None:
        record.write_text(record.read_text("utf-8").replace(LENS.prompt_sha256, "0" * 64), encoding="utf-8")

    with ScriptedOracle(lambda ask: said(ask, 5, 5)) as server:
        assert judge(server, "-n", "1", "--budget", "0").exit_code == 2
        sharpen()
        assert judge(server, "-n", "1").exit_code == 0
        sharpen()
        assert "perhaps under another prompt" in " ".join(judge(server, "-n", "1").output.split())
        assert len(server.asks) == 1


def test_no_judging_before_the_first_training(judge: Judge, tmp_path: Path) -> None:
    filters = tmp_path / "filters"
    shutil.copytree(FILTERS / "uplifting", filters / "uplifting")
    with edited(filters / "uplifting" / "v1" / "filter.toml") as spec:
        del spec["checkpoints"]
    with ScriptedOracle(lambda ask: said(ask, 5, 5)) as server:
        refused = judge(server, filters=filters)
        assert refused.exit_code == 2
        assert "no trained student" in refused.stderr
        assert "--before-training" in refused.stderr
        assert not server.asks
        asked = judge(server, "--before-training", "--json", filters=filters)
    assert json.loads(asked.stdout)["student"] == "tfidf_ridge"
    assert json.loads(asked.stdout)["judged"] == 10


def test_a_failed_opinion_is_told(judge: Judge) -> None:
    with ScriptedOracle(lambda ask: {"verdict": "fine"} if ask.number == 0 else said(ask, 5, 5)) as server:
        done = judge(server, "-n", "3", "--json", "--concurrency", "1")
    assert done.exit_code == 0, "one turn of repair"
    with ScriptedOracle(lambda ask: {"verdict": "fine"}) as server:
        done = judge(server, "-n", "4", "--json", "--concurrency", "1", "--model", "other")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["failed"] == {"wrong_schema": 4}
    assert "dimensions: required" in json.loads(done.stdout)["messages"]["wrong_schema"]
    with ScriptedOracle(lambda ask: {"verdict": "fine"}) as server:
        told = judge(server, "-n", "1", "--model", "third").stdout
    assert "no opinion: wrong_schema: 1; dimensions: required" in told
    assert "by dimension" not in told, "no table of nothing"


def case(apart: float, unsure: float, **row: Any) -> Case:
    return Case({"id": f"{apart}-{unsure}", **row}, [5.0] * len(NAMES), [4.0] * len(NAMES), apart, unsure)


def test_the_farthest_apart_and_the_least_sure_take_turns() -> None:
    cases = [case(0.0, 0.0), case(3.0, 1.0), case(2.0, 0.5), case(0.1, 6.0)]
    assert [(each.apart, each.unsure) for each in doubtful(cases, 3)] == [(3.0, 1.0), (0.1, 6.0), (2.0, 0.5)]


def test_weak_spots_by_dimension_language_and_length() -> None:
    def finding(language: str, words: int, judged: float) -> Finding:
        row = case(1.0, 0.0, language=language, content="word " * words)
        return Finding(row, Opinion([judged] * len(NAMES), 6.0, 5.0, "sound", ""), LENS)

    spots = weak_spots([finding("nl", 100, 4.0), finding("en", 700, 1.0)], LENS)
    assert spots["language"]["nl"] == {
        "student_error": 0.0, "oracle_error": 1.0, "student_bias": 0.0, "n": 1, "student_preferred": 1.0
    }  # fmt: skip
    assert spots["length"]["over 600 words"]["student_bias"] == 3.0
    assert spots["dimension"][NAMES[0]]["student_error"] == 1.5
    unfit = Finding(case(1.0, 0.0), Opinion([0.0] * len(NAMES), 9.0, 1.0, "unfit", ""), LENS)
    assert unfit.advice is Advice.DROP
    assert weak_spots([unfit], LENS)["dimension"] == {}
