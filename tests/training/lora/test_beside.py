"""A LoRA checkpoint's tables, and its figures beside the student's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from typer.testing import CliRunner

from distilled_filters.calibration import read_calibration, read_percentiles
from distilled_filters.cli.app import app
from distilled_filters.errors import SettingError
from distilled_filters.filter import Filter
from distilled_filters.scorers import decoder
from distilled_filters.training import answers as answers_module
from distilled_filters.training.beside import evaluate_checkpoint
from tests.conftest import SNIPPET
from tests.training.lora.conftest import Forge


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep answers in the test's own folder."""
    monkeypatch.setattr(answers_module, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def distillery(*arguments: object) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)), prog_name="distillery")


def test_a_checkpoint_is_calibrated_and_measured_beside_the_student(forge: Forge, tmp_path: Path) -> None:
    filters = shutil.copytree(forge.filters, tmp_path / "filters")
    home, options = filters / "uplifting" / "v1", ("--data", forge.data, "--filters", filters)
    student = Filter(home).score(SNIPPET)
    fitted = distillery("calibrate", *options, "--checkpoint", "tiny-lora", "--json")
    assert fitted.exit_code == 0, fitted.output
    assert list(json.loads(fitted.stdout)) == ["uplifting"], "the other filter has no such checkpoint"
    each = Filter(home, checkpoint="tiny_lora", device="cpu")
    digest = each.weights.digest
    tables = read_calibration(home / "tiny_lora" / "calibration.json", digest)
    assert sorted(tables.dimensions) == sorted(json.loads(fitted.stdout)["uplifting"]["isotonic"])
    assert tables.intervals.half_widths != [10.0]
    assert len(read_percentiles(home / "tiny_lora" / "percentiles.json", digest).averages) > 2
    assert each.score(SNIPPET).interval is not None
    assert Filter(home).score(SNIPPET) == student, "the student's own tables stay"
    each.unload()

    shown = distillery("evaluate", *options, "--checkpoint", "tiny_lora", "--json")
    assert shown.exit_code == 0, shown.output
    (beside,) = json.loads(shown.stdout)
    methods = beside["methods"]
    assert list(methods) == ["me5_small", "tiny_lora"]
    # Only the expert has learnt the made-up signs of this corpus.
    assert methods["tiny_lora"]["average_mae"] < methods["me5_small"]["average_mae"]
    assert beside["leads_95"]["average_mae"][0] > 0
    assert json.loads((home / "tiny_lora" / "metrics.json").read_text(encoding="utf-8")) == beside
    assert "tiny_lora" in distillery("evaluate", *options, "--checkpoint", "tiny_lora").stdout
    assert decoder._open == {}


def test_kept_answers_are_not_asked_for_again(forge: Forge, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that a kill left half written is."""
    (first,) = evaluate_checkpoint(forge.data, forge.filters, "tiny_lora")
    asked: list[object] = []
    answers = decoder.Decoder.answers

    def counted(self: decoder.Decoder, *arguments: Any) -> Any:
        asked.append(arguments)
        return answers(self, *arguments)

    monkeypatch.setattr(decoder.Decoder, "answers", counted)
    (again,) = evaluate_checkpoint(forge.data, forge.filters, "tiny_lora")
    assert (again.methods, asked) == (first.methods, [])
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    (mended,) = evaluate_checkpoint(forge.data, forge.filters, "tiny_lora")
    assert mended.methods == first.methods
    assert len(asked) == 1


def test_a_checkpoint_that_no_filter_has_is_refused(forge: Forge) -> None:
    with pytest.raises(SettingError, match=r"no filter under .* has a checkpoint 'nope'"):
        evaluate_checkpoint(forge.data, forge.filters, "nope")
