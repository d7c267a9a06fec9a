"""From labels to an expert's checkpoint: training, its resumption, and an export that scores the same."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from distilled_filters.cli.app import app
from distilled_filters.errors import SettingError
from distilled_filters.filter import Filter
from distilled_filters.scorers import decoder
from distilled_filters.scorers.placement import Placement
from distilled_filters.training.data import read_lenses
from distilled_filters.training.export import ExportRefusedError
from distilled_filters.training.lora import export as export_module
from distilled_filters.training.lora import student as student_module
from distilled_filters.training.lora.base import find_language_model
from distilled_filters.training.lora.export import export_expert, finished_expert
from distilled_filters.training.lora.gguf import convert_gguf
from distilled_filters.training.lora.recipe import make_expert_recipe
from distilled_filters.training.lora.student import make_expert
from distilled_filters.training.lora.train import train_expert
from distilled_filters.training.recipe import make_recipe
from distilled_filters.training.record import read_run
from distilled_filters.training.trainer import StudentTrainer
from distilled_filters.training.weights import finished_student
from tests.conftest import SNIPPET
from tests.training.lora.conftest import Forge, recipe


def test_an_expert_learns_its_lens(forge: Forge) -> None:
    run = read_run(forge.run)
    assert run.best["eval_ranking"] > 0.8
    assert run.lenses is not None
    assert list(run.lenses) == ["uplifting"]
    assert (run.recipe["method"], run.recipe["rank"], run.recipe["targets"]) == (
        "lora", 16, ["q_proj", "k_proj", "v_proj", "o_proj"],
    )  # fmt: skip
    recorded = json.loads((forge.run / "recipe.json").read_text(encoding="utf-8"))
    assert "base/model.safetensors" in recorded["data"]["sha256"]


def test_a_run_holds_what_was_learnt_and_no_language_model(forge: Forge) -> None:
    names = set(load_file(read_run(forge.run).weights))
    assert {"center", "spread", "head.weight", "head.bias"} < names
    others = names - {"center", "spread", "head.weight", "head.bias"}
    assert len(others) == 2 * 4 * 2, "two matrices for four layers' parts in two layers"
    assert all(".lora_" in name for name in others)


def test_an_exported_expert_scores_as_it_was_trained(forge: Forge) -> None:
    each = Filter(forge.filters / "uplifting" / "v1", checkpoint="tiny_lora", device="cpu")
    text = "the city said healed people rescued in a week of report freed new group plan " * 2
    plain = "the city said people in a week of report new group plan and the year " * 2
    good, dull = each.score(text), each.score(plain)
    assert good.stage == "expert"
    assert good.raw_weighted_average is not None
    assert dull.raw_weighted_average is not None
    assert good.raw_weighted_average > dull.raw_weighted_average + 1
    assert Filter(forge.filters / "uplifting" / "v1").spec.default_checkpoint == "me5_small", "the student stays"
    each.unload()
    assert decoder._open == {}


def test_training_goes_on_after_an_interruption_as_if_nothing_had_happened(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout and order are taken up, so the weights are the same."""
    short = recipe(forge, epochs=2, evaluate_every=6, articles=60)
    train_expert(short, forge.data, forge.filters, tmp_path / "undisturbed")
    step = StudentTrainer.training_step

    def interrupted(self: Any, *arguments: Any) -> Any:
        if self.state.global_step == 7:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(StudentTrainer, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_expert(short, forge.data, forge.filters, tmp_path / "stopped")
    monkeypatch.setattr(StudentTrainer, "training_step", step)
    saved = tmp_path / "stopped" / "checkpoints" / "checkpoint-6" / "model.safetensors"
    assert saved.stat().st_size < 100_000, "a checkpoint holds no language model"
    train_expert(short, forge.data, forge.filters, tmp_path / "stopped")
    expected, found = (load_file(read_run(tmp_path / name).weights) for name in ("undisturbed", "stopped"))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert (tensor - found[name]).abs().max() < 1e-6, name


def test_a_language_model_that_has_changed_is_refused(forge: Forge, tmp_path: Path) -> None:
    (lens,) = (lens for lens in read_lenses(forge.filters) if lens.name == "uplifting")
    changed = shutil.copytree(forge.run, tmp_path / "run")
    document = json.loads((changed / "recipe.json").read_text(encoding="utf-8"))
    document["data"]["sha256"]["base/model.safetensors"] = "0" * 64
    (changed / "recipe.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(SettingError, match=r"model\.safetensors is not the file"):
        finished_expert(changed, [lens])


def test_another_language_model_of_the_same_name_is_refused(forge: Forge, tmp_path: Path) -> None:
    filters = shutil.copytree(forge.filters, tmp_path / "filters")
    path = filters / "backbones" / "tiny_lm" / "v1" / "backbone.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("size = ", "size = 1"), encoding="utf-8")
    before = (filters / "uplifting" / "v1" / "filter.toml").read_bytes()
    with pytest.raises(SettingError, match="is another language model"):
        export_expert(forge.run, filters, "tiny_lm/v1", "second", licence="MIT")
    assert (filters / "uplifting" / "v1" / "filter.toml").read_bytes() == before


def test_files_that_score_otherwise_are_refused(forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filters = shutil.copytree(forge.filters, tmp_path / "filters")
    monkeypatch.setattr(export_module, "_moved", lambda *_: (7, 0.2))
    with pytest.raises(ExportRefusedError, match=r"0\.2000 off the trained expert"):
        export_expert(forge.run, filters, "tiny_lm/v1", "second", licence="MIT")
    assert not (filters / "uplifting" / "v1" / "second").exists()


# --- recipes and language models ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "preset", "message"),
    [
        ({"filters": ("uplifting",)}, "gemma3-27m", "did you mean 'gemma3-270m'"),
        ({"filters": ("uplifting",)}, None, "name a language model with --base, or a preset: qwen2.5-7b"),
        ({"base": "x"}, None, "name the filter that the expert is for"),
        ({"base": "x", "filters": ("a", "b"), "method": "full"}, None, "every weight is trained for one filter"),
        ({"base": "x", "filters": ("a",), "layers": 6}, None, "layers: unknown key"),
        ({"base": "x", "filters": ("a",), "batch_size": 6}, None, "micro_batch 4 does not divide batch_size 6"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(fields: dict[str, Any], preset: str | None, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make_expert_recipe(fields, preset)


def test_presets_set_base_and_window_and_what_is_given_wins() -> None:
    made = make_expert_recipe({"filters": ("uplifting",), "tail_tokens": 60}, "qwen2.5-7b")
    assert (made.base, made.head_tokens, made.tail_tokens) == ("Qwen/Qwen2.5-7B-Instruct", 1500, 60)
    assert (made.epochs, made.batch_size, made.encoder_learning_rate) == (3, 16, 2e-4)
    full = make_expert_recipe({"filters": ("uplifting",), "method": "full"}, "smollm2-135m")
    assert full.encoder_learning_rate == 2e-5


def test_a_window_longer_than_the_model_reads_is_refused(forge: Forge, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="longer than the 512"):
        train_expert(recipe(forge, head_tokens=600), forge.data, forge.filters, tmp_path / "run")


def test_layers_that_a_model_does_not_have_are_refused(forge: Forge) -> None:
    (lens,) = (lens for lens in read_lenses(forge.filters) if lens.name == "uplifting")
    with pytest.raises(SettingError, match="has no layers w_nope"):
        make_expert(recipe(forge, targets=("w_nope",)), find_language_model(str(forge.base)), [lens])


def test_a_quarter_precision_needs_a_gpu(forge: Forge, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="4bit needs an NVIDIA GPU"):
        train_expert(recipe(forge, method="qlora"), forge.data, forge.filters, tmp_path / "run")


@pytest.mark.parametrize(
    ("device", "installed", "method", "chosen"),
    [
        ("cuda", True, "lora", True),
        ("cuda", True, "qlora", True),
        ("cuda", True, "full", False),
        ("cuda", False, "lora", False),
        ("cpu", True, "lora", False),
    ],
)
def test_unsloth_is_chosen_where_it_is_installed_on_a_gpu(
    forge: Forge, monkeypatch: pytest.MonkeyPatch, device: str, installed: bool, method: str, chosen: bool
) -> None:
    """The choice and what it is asked for; its kernels are no part of this test."""
    asked: dict[str, Any] = {}

    class FastModel:
        @staticmethod
        def from_pretrained(name: str, **options: Any) -> tuple[str, None]:
            asked.update(name=name, **options)
            return "body", None

        @staticmethod
        def get_peft_model(model: str, **options: Any) -> str:
            asked.update(options)
            return f"{model} under an adapter"

    find_spec = importlib.util.find_spec
    if installed:
        monkeypatch.setitem(sys.modules, "unsloth", SimpleNamespace(FastModel=FastModel))
    there = SimpleNamespace() if installed else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: there if name == "unsloth" else find_spec(name))
    given = recipe(forge, method=method)
    where = Placement(torch.device(device), "4bit" if method == "qlora" else "bf16")
    assert student_module._has_unsloth(given, where) is chosen
    if chosen:
        base = find_language_model(str(forge.base))
        assert student_module._by_unsloth(given, base, where) == "body under an adapter"
        assert (asked["name"], asked["r"], asked["lora_alpha"]) == (str(forge.base), 16, 32)
        assert asked["load_in_4bit"] is (method == "qlora")
        assert asked["target_modules"] == ["q_proj", "k_proj", "v_proj", "o_proj"]


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_is_no_language_model_is_refused(forge: Forge, tmp_path: Path, missing: str) -> None:
    folder = shutil.copytree(forge.base, tmp_path / "lm")
    (folder / missing).unlink()
    with pytest.raises(SettingError, match=missing):
        find_language_model(str(folder))


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGML" + bytes(100))
    with pytest.raises(SettingError, match="cannot be read as GGUF"):
        convert_gguf(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- the command line ---------------------------------------------------------------------------------


def distillery(*arguments: object) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)), prog_name="distillery")


def test_the_commands_train_and_export_an_expert(forge: Forge, tmp_path: Path) -> None:
    filters = shutil.copytree(forge.filters, tmp_path / "filters")
    run = tmp_path / "run"
    trained = distillery(
        "train", "--data", forge.data, "--filters", filters, "-o", run, "--method", "lora", "--base", forge.base,
        "-f", "movement_growth", "--epochs", 1, "--articles", 32, "--evaluate-every", 2, "--fp32", "--rank", 2,
        "--head-tokens", 60, "--tail-tokens", 20,
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    exported = distillery("export", run, "--filters", filters, "--backbone", "tiny_lm/v1", "--licence", "MIT", "--json")
    assert exported.exit_code == 0, exported.output
    document = json.loads(exported.stdout)
    assert document["checkpoint"] == "tiny_lm_lora"
    assert document["moved"] <= export_module.BOUND
    each = Filter(filters / "movement_growth" / "v1", checkpoint=document["checkpoint"], device="cpu")
    assert each.score(SNIPPET).stage == "expert"
    each.unload()


def test_an_encoder_cannot_go_on_from_an_expert(forge: Forge) -> None:
    with pytest.raises(SettingError, match="an encoder cannot go on from it"):
        make_recipe({"start": str(forge.run)})
    with pytest.raises(SettingError, match="no encoder student"):
        finished_student(forge.run, read_lenses(forge.filters))


def test_options_of_experts_are_refused_for_encoders(forge: Forge, tmp_path: Path) -> None:
    done = distillery("train", "--data", forge.data, "--filters", forge.filters, "-o", tmp_path / "run", "--rank", 4)
    assert done.exit_code != 0
    assert "rank: for an expert only; add --method lora" in " ".join(done.output.split())
