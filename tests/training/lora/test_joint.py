"""One adapter for several filters: one pass answers all, and it teaches an encoder student that reads other tokens."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from typer.testing import CliRunner

from distilled_filters.cli.app import app
from distilled_filters.errors import SettingError
from distilled_filters.filter import Filter
from distilled_filters.panel import Panel
from distilled_filters.scorers import decoder
from distilled_filters.training import distil
from distilled_filters.training.base import encoder_reader
from distilled_filters.training.data import read_examples, read_lenses, select, shared_preprocessing
from distilled_filters.training.lora.export import homes_of
from distilled_filters.training.lora.merge import export_merged
from distilled_filters.training.lora.train import train_expert
from distilled_filters.training.teacher import open_teacher
from distilled_filters.training.train import Recipe, train
from distilled_filters.training.weights import finished_student
from tests.training.conftest import LENSES, Workshop
from tests.training.lora.conftest import Forge, recipe

pytestmark = pytest.mark.slow
ARTICLE = "the city said healed people rescued in a week of report freed union march group plan " * 2


@pytest.fixture(scope="module")
def joint(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Forge:
    """An expert for two filters, trained and exported."""
    root = tmp_path_factory.mktemp("joint")
    place = replace(forge, filters=root / "filters", run=root / "run")
    shutil.copytree(forge.filters, place.filters)
    train_expert(recipe(place, filters=LENSES), place.data, place.filters, place.run)
    arguments = ["export", place.run, "--filters", place.filters, "--backbone", "tiny_lm/v1", "--checkpoint", "both"]
    done = CliRunner().invoke(app, [*map(str, arguments), "--licence", "MIT", "--json"])
    assert done.exit_code == 0, done.output
    folders = [str(place.filters / lens / "v1" / "both") for lens in LENSES]
    assert json.loads(done.stdout)["folders"] == folders
    return place


def experts(joint: Forge) -> list[Filter]:
    return [Filter(joint.filters / lens / "v1", checkpoint="both", device="cpu", threads=1) for lens in LENSES]


def test_filters_of_one_adapter_are_answered_by_one_pass(joint: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    movement, uplifting = experts(joint)
    assert movement.weights.adapter.sha256 == uplifting.weights.adapter.sha256  # type: ignore[union-attr]
    alone = [each.score(ARTICLE).dimensions for each in (movement, uplifting)]
    assert alone[0] != alone[1]
    passes: list[str] = []
    answers = decoder.Decoder.answers

    def counted(self: Any, adapter: str, windows: Any) -> Any:
        passes.append(adapter)
        return answers(self, adapter, windows)

    monkeypatch.setattr(decoder.Decoder, "answers", counted)
    panel = Panel([movement, uplifting], threads=1)
    together = panel.score(ARTICLE)
    assert [together[lens].dimensions for lens in LENSES] == alone
    assert len(passes) == 1
    for each in panel.filters:
        each.unload()


def test_one_of_several_cannot_be_merged(joint: Forge) -> None:
    assert [lens.name for _, lens in homes_of(joint.run, joint.filters)] == list(LENSES)
    with pytest.raises(SettingError, match="trained for 2 filters; only an expert of one is merged"):
        export_merged(joint.run, joint.filters, "merged/v1", "merged", licence="MIT")


def test_an_encoder_student_learns_from_an_expert(joint: Forge, workshop: Workshop, tmp_path: Path) -> None:
    """On articles that neither has seen, and taught by nothing else: labels have no share of this loss."""
    lenses = read_lenses(workshop.filters)
    teach = Recipe(
        base=str(workshop.base), layers=1, epochs=12, head_learning_rate=1e-3, encoder_learning_rate=1e-3,
        evaluate_every=200, bf16=False, teacher=str(joint.run), distil_weight=1,
        unlabelled=str(workshop.data / "unlabelled.jsonl"),
    )  # fmt: skip
    run = train(teach, workshop.data, workshop.filters, tmp_path)
    teacher = open_teacher(joint.run, lenses)
    own = encoder_reader(str(workshop.base), shared_preprocessing(lenses))
    theirs, mine = (
        [example.window for example in select(read_examples(workshop.data, lenses, read), "test")]
        for read in (teacher.read, own)
    )
    assert theirs[0].ids.tolist() != mine[0].ids.tolist()
    expected = distil.answers(teacher.student, theirs)
    distance = (distil.answers(finished_student(run, lenses), mine) - expected).abs().mean()
    assert distance < 0.5 * (expected.mean(dim=0) - expected).abs().mean()
