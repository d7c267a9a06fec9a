from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from distilled_filters.cli.app import app
from distilled_filters.filter import Filter
from distilled_filters.golden import record_golden
from tests.conftest import DATA, ROOT, House

EXAMPLES = str(ROOT / "examples" / "articles.jsonl")
BROKEN = str(DATA / "broken.jsonl")

Run = Callable[..., Result]


@pytest.fixture
def distillery() -> Run:
    """Run the command line in this process; `stdin` is what it reads there."""

    def run(*arguments: str, stdin: bytes | str = b"") -> Result:
        return CliRunner().invoke(app, list(arguments), input=stdin, prog_name="distillery")

    return run


@pytest.fixture
def own_filters(house: House, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two installed filters, free to be damaged; their golden scores are up to date."""
    for name in ("belonging", "uplifting"):
        record_golden(Filter(house.add(name), threads=1))
    house.use(monkeypatch)
    return house.root


@pytest.fixture
def articles(tmp_path: Path) -> Path:
    """Three articles and two records that are none."""
    rows = [json.loads(line) for line in Path(EXAMPLES).read_text(encoding="utf-8").splitlines()[:3]]
    lines = [json.dumps(rows[0]), "null", json.dumps(rows[1]), "{not json", json.dumps(rows[2])]
    path = tmp_path / "articles.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
