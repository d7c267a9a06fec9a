"""Runs side by side: only what differs, best first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from distilled_filters.cli.app import app
from distilled_filters.training.compare import compare
from distilled_filters.training.record import read_run


def _run(folder: Path, rankings: dict[int, float], **recipe: Any) -> Path:
    looks = [
        {
            "step": step,
            "eval_ranking": value,
            "eval_medium_ap": value - 0.1,
            "eval_scope_ap": value + 0.1,
            "eval_loss": 2,
        }
        for step, value in rankings.items()
    ]
    folder.mkdir()
    history = [*looks, {"step": max(rankings), "train_runtime": 90.0}]
    record = {"recipe": {"base": "base", "seed": 20, **recipe}, "rows": 1, "history": history}
    (folder / "recipe.json").write_text(json.dumps(record))
    (folder / "student.safetensors").touch()
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        _run(tmp_path / "huber", {100: 0.5, 200: 0.4}),
        _run(tmp_path / "margin", {100: 0.3, 200: 0.6}, ranking={"margin": 0.2}, regression="huber"),
        _run(tmp_path / "mse", {100: 0.2}, regression="mse"),
    ]


def test_runs_are_compared_by_what_differs(runs: list[Path]) -> None:
    found = compare([read_run(folder) for folder in runs])
    assert [Path(each.run).name for each in found] == ["margin", "huber", "mse"]
    # A field that an older record lacks counts as its default, so `seed` and the like do not show up.
    assert found[0].differs == {"regression": "huber", "ranking": {"margin": 0.2}}
    assert found[1].differs == {"regression": "huber", "ranking": {}}
    best = found[1]
    assert (best.best_step, best.steps, best.ranking, best.minutes) == (100, 200, 0.5, 1.5)
    assert (best.medium_ap, best.scope_ap) == pytest.approx((0.4, 0.6))


def test_the_command_prints_a_table_and_json(runs: list[Path], tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    done = CliRunner().invoke(app, ["runs", *map(str, runs), str(unfinished)])
    assert done.exit_code == 0
    header, *lines = done.stdout.splitlines()
    assert "regression" in header
    assert "epochs" not in header
    assert [line.split("/")[-1].split()[0] for line in lines] == ["margin", "huber", "mse"]
    assert "margin=0.2" in lines[0]
    assert f"left out: {unfinished}" in done.stderr
    done = CliRunner().invoke(app, ["runs", *map(str, runs), "--json"])
    assert [row["ranking"] for row in json.loads(done.stdout)] == [0.6, 0.5, 0.2]
    done = CliRunner().invoke(app, ["runs", str(unfinished)])
    assert done.exit_code == 2
    assert "none of these folders" in done.stderr
