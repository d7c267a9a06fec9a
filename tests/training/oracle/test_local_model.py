"""`distillery label` with a real model behind a real server, by hand: it may fail, and must say how.

transformers serve MODEL --port 8765 &
DISTILLERY_TEST_ORACLE="http://127.0.0.1:8765/v1 MODEL" python -m pytest -m stress tests/training/oracle
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("openai")

from typer.testing import CliRunner

from distilled_filters.cli.app import app
from distilled_filters.training.oracle.errors import Problem
from tests.conftest import FILTERS, ROOT
from tests.training.oracle.conftest import read


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_every_article_ends_as_a_label_or_a_typed_failure(tmp_path: Path) -> None:
    url, _, model = os.environ.get("DISTILLERY_TEST_ORACLE", "").partition(" ")
    if not model:
        pytest.skip("no server is named in DISTILLERY_TEST_ORACLE")
    line = [
        "label", "--filter", "uplifting", "--filters", str(FILTERS), "--source", str(ROOT / "examples/articles.jsonl"),
        "--output", str(tmp_path), "--base-url", url, "--model", model, "--max-articles", "2", "--concurrency", "1",
        "--timeout", "900", "--max-output-tokens", "500", "--temperature", "0", "--json",
    ]  # fmt: skip
    first = json.loads(CliRunner().invoke(app, line).stdout)
    assert first["stopped"] is None
    labels, failed = read(tmp_path / "labels.jsonl"), read(tmp_path / "failed.jsonl")
    assert len(labels) + len(failed) == 2
    assert {row["reason"] for row in failed} <= set(Problem)
    assert first["spending"]["tokens"]["prompt"] > 0
    assert json.loads(CliRunner().invoke(app, line).stdout)["this_run"]["calls"] == 0
