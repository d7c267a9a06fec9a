"""Articles made up on the spot, and what a scripted oracle says of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from distilled_filters.cli.app import app
from distilled_filters.spec import read_lens_spec
from examples.walkthrough.server import PRICES, Ask, ScriptedOracle
from tests.conftest import FILTERS

LENS = read_lens_spec(FILTERS / "uplifting" / "v1" / "filter.toml")
NAMES = LENS.dimension_names

OUT_OF_SCOPE = 0.4
"""The share of articles that `judge` finds out of scope."""

Label = Callable[..., Result]


def articles(count: int) -> list[dict[str, Any]]:
    """Return articles of a few sentences; no two are alike."""
    towns, things = ["Ardlow", "Pennavoe", "Kerrigan"], ["clinic", "school", "orchard", "library"]
    made = []
    for number in range(count):
        chance = random.Random(number)
        town, thing = chance.choice(towns), chance.choice(things)
        content = (
            f"The council of {town} said the new {thing} has served {number + 100} people since spring. "
            f"“Open to all,” a nurse said. A count by the ministry found {chance.randint(2, 90)} per cent fewer cases."
        )
        made.append({"id": f"article-{number}", "title": f"A {thing} for {town}, no. {number}", "content": content})
    return made


def write(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def judge(ask: Ask, tilt: float = 0.0) -> dict[str, Any]:
    """Judge by a draw from the article, and quote its second sentence with other quotation marks."""
    title, content = ask.body["messages"][0]["content"].split("Title: ")[1].split("\n\n")[:2]
    chance = random.Random(title)
    if chance.random() < OUT_OF_SCOPE:
        return answer([0.0] * len(NAMES), "")
    quote = content.split(". ")[1].replace("“", '"')
    return answer([min(10.0, chance.randint(5, 18) / 2 + tilt) for _ in NAMES], quote)


def answer(scores: Sequence[float], quote: str, in_scope: bool | None = None) -> dict[str, Any]:
    marks = {name: {"score": score, "evidence": quote} for name, score in zip(NAMES, scores, strict=True)}
    return {"in_scope": any(scores) if in_scope is None else in_scope, "dimensions": marks}


@pytest.fixture
def label(tmp_path: Path) -> Label:
    """Run `distillery label` on articles against a server, into the test's folder `labels`."""

    def run(server: ScriptedOracle, rows: Sequence[object], *options: str, models: Sequence[str] = ("one",)) -> Result:
        source = write(tmp_path / "articles.jsonl", rows)
        return CliRunner().invoke(app, ["label", *arguments(server.url, source, tmp_path / "labels", models), *options])

    return run


def arguments(url: str, source: Path, output: Path, models: Sequence[str] = ("one",)) -> list[str]:
    named = [part for model in models for part in ("--model", model)]
    prices = ["--price-in", str(PRICES[0]), "--price-out", str(PRICES[1])]
    where = ["--filter", LENS.name, "--filters", str(FILTERS), "--source", str(source), "--output", str(output)]
    return [*where, "--base-url", url, *named, *prices, "--yes", "--timeout", "5"]
