"""Training itself: what a run leaves behind, how it stops, goes on, starts from another, and refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from distilled_filters.errors import SettingError  # noqa: E402
from distilled_filters.training.data import read_lenses  # noqa: E402
from distilled_filters.training.record import read_run  # noqa: E402
from distilled_filters.training.student import Student  # noqa: E402
from distilled_filters.training.train import Recipe, train  # noqa: E402
from distilled_filters.training.trainer import StudentTrainer  # noqa: E402
from tests.conftest import rows  # noqa: E402
from tests.training.conftest import LENSES, Workshop  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def _recipe(workshop: Workshop, **fields: Any) -> Recipe:
    quick = {"epochs": 1, "head_learning_rate": 1e-2, "encoder_learning_rate": 1e-3, "bf16": False, "evaluate_every": 5}
    return Recipe(base=str(workshop.base), **{**quick, **fields})


def test_a_run_folder_says_how_it_came_about(workshop: Workshop) -> None:
    record = json.loads((workshop.run / "recipe.json").read_text())
    assert record["recipe"]["epochs"] == 6
    assert [head["name"] for head in record["lenses"]] == list(LENSES)
    assert record["rows"] == record["data"]["rows"]["train"] > 100
    assert set(record["data"]["sha256"]) == {"articles.jsonl", "labels.jsonl"}
    assert record["environment"]["torch"] == torch.__version__
    assert record["environment"]["threads"] == torch.get_num_threads()
    curves = json.loads((workshop.run / "curves.json").read_text())
    run = read_run(workshop.run)
    assert curves["best_step"] == record["best"]["step"] == run.best["step"]
    assert dict(curves["ranking"])[curves["best_step"]] == max(value for _, value in curves["ranking"])
    assert curves["training_loss"][-1][1] < curves["training_loss"][0][1]
    assert (workshop.run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not (workshop.run / "checkpoints").exists()


def test_a_finished_run_is_left_as_it_is(workshop: Workshop, tmp_path: Path) -> None:
    recipe = _recipe(workshop)
    train(recipe, workshop.data, workshop.filters, tmp_path)
    before = (tmp_path / "student.safetensors").stat().st_mtime_ns
    train(recipe, workshop.data, workshop.filters, tmp_path)
    assert (tmp_path / "student.safetensors").stat().st_mtime_ns == before
    with pytest.raises(SettingError, match=r"epochs was 1\.0, is 2\.0; seed was 20, is 21"):
        train(_recipe(workshop, epochs=2, seed=21), workshop.data, workshop.filters, tmp_path)
    data = tmp_path / "data"
    shutil.copytree(workshop.data, data)
    with (data / "labels.jsonl").open("a") as file:
        file.write('{"id": "new", "runs": []}\n')
    with pytest.raises(SettingError, match=r"the data have changed \(labels\.jsonl\)"):
        train(recipe, data, workshop.filters, tmp_path)


def test_training_goes_on_after_a_kill_as_if_nothing_had_happened(workshop: Workshop, tmp_path: Path) -> None:
    """Dropout, shuffled needles and early stopping's patience are taken up, so the weights are the same."""
    recipe = _recipe(
        workshop, epochs=4, batch_size=8, evaluate_every=27, needle_weight=3, patience=9, teacher=str(workshop.run),
        token_dropout=0.2,
    )  # fmt: skip
    train(recipe, workshop.data, workshop.filters, tmp_path / "undisturbed")
    output = tmp_path / "killed"
    # Steps are slowed down so that a quick machine does not finish before it is killed.
    code = """
import sys, time
from pathlib import Path
from distilled_filters.training.train import Recipe, train
from distilled_filters.training.trainer import StudentTrainer
step = StudentTrainer.training_step
StudentTrainer.training_step = lambda *a, **k: (time.sleep(0.05), step(*a, **k))[1]
train(Recipe.model_validate_json(sys.argv[1]), *map(Path, sys.argv[2:]))
"""
    command = [sys.executable, "-c", code, recipe.model_dump_json(), workshop.data, workshop.filters, output]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    state = output / "checkpoints" / "checkpoint-27" / "trainer_state.json"
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stderr and process.stderr.read()
    assert not (output / "student.safetensors").exists()
    # What a kill in the middle of writing a checkpoint leaves.
    (output / "checkpoints" / "checkpoint-99").mkdir()

    train(recipe, workshop.data, workshop.filters, output)
    expected, found = read_run(tmp_path / "undisturbed"), read_run(output)
    assert found.history[-1]["step"] == expected.history[-1]["step"]
    assert [look["step"] for look in found.looks] == [27, 54, 72]
    assert [look["eval_loss"] for look in found.looks] == pytest.approx([look["eval_loss"] for look in expected.looks])
    weights = load_file(found.weights)
    for name, tensor in load_file(expected.weights).items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=1e-6, msg=name)


def test_tokens_are_left_out_in_training_only(workshop: Workshop) -> None:
    student = Student(workshop.base, read_lenses(workshop.filters), token_dropout=0.5)
    ids = torch.arange(4, 24)[None].repeat(2, 1)
    mask = torch.ones_like(ids)
    mask[1, 10:] = 0
    seen = []
    student.encoder.embeddings.register_forward_pre_hook(
        lambda _, __, named: seen.append(named["input_ids"]), with_kwargs=True
    )
    for training in (True, True, False):
        student.train(training).embed(ids, mask)
    first, second, whole = (each[0].tolist() for each in seen)
    assert first != second
    assert all(2 < len(each) < 19 and each == sorted(each) and each[0] == 4 for each in (first, second))
    assert whole == ids[0].tolist()


def test_training_stops_when_the_ranking_no_longer_grows(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With rates this small nothing changes, so no look is better than the first.
    still = {"encoder_learning_rate": 1e-12, "head_learning_rate": 1e-12}
    recipe = _recipe(workshop, **still, epochs=9, evaluate_every=2, patience=3)
    step = StudentTrainer.training_step

    def interrupted(self: Any, *arguments: Any) -> Any:
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(StudentTrainer, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, workshop.data, workshop.filters, tmp_path)
    monkeypatch.undo()
    # The looks without progress before the interruption count too.
    run = read_run(train(recipe, workshop.data, workshop.filters, tmp_path))
    assert [look["step"] for look in run.looks] == [2, 4, 6, 8]
    assert run.best["step"] == 2


def test_a_run_goes_on_from_another(workshop: Workshop, tmp_path: Path) -> None:
    still = {"encoder_learning_rate": 1e-12, "head_learning_rate": 1e-12}
    before = read_run(workshop.run)
    on = read_run(
        train(_recipe(workshop, **still, start=str(workshop.run)), workshop.data, workshop.filters, tmp_path / "on")
    )
    assert on.looks[0]["eval_loss"] == pytest.approx(before.best["eval_loss"], rel=1e-4)
    # One of its filters.
    one = _recipe(workshop, **still, start=str(workshop.run), filters=("uplifting",))
    weights = load_file(train(one, workshop.data, workshop.filters, tmp_path / "one") / "student.safetensors")
    np.testing.assert_allclose(weights["head.weight"], load_file(before.weights)["head.weight"][7:], atol=1e-6)
    # Its first layer, with fresh heads.
    shallow = _recipe(workshop, **still, start=str(workshop.run), layers=1)
    weights = load_file(train(shallow, workshop.data, workshop.filters, tmp_path / "shallow") / "student.safetensors")
    inner = "encoder.encoder.layer.0.output.dense.weight"
    np.testing.assert_allclose(weights[inner], load_file(before.weights)[inner], atol=1e-6)
    assert not any(name.startswith("encoder.encoder.layer.1.") for name in weights)
    assert float(weights["head.weight"].abs().max()) < 1e-6


def _edited(workshop: Workshop, folder: Path, **changes: Any) -> Path:
    """Copy the data with every article of the training or validation split changed."""
    shutil.copytree(workshop.data, folder)
    articles = [{**row, **{k: v(row) for k, v in changes.items()}} for row in rows(folder / "articles.jsonl")]
    (folder / "articles.jsonl").write_text("".join(json.dumps(row) + "\n" for row in articles))
    return folder


def test_data_that_cannot_train_are_refused(workshop: Workshop, tmp_path: Path) -> None:
    bare = _edited(workshop, tmp_path / "bare", split=lambda row: row["split"].replace("validation", "test"))
    with pytest.raises(SettingError, match="has the split 'validation'"):
        train(_recipe(workshop), bare, workshop.filters, tmp_path / "run")
    labels = {row["id"]: row["runs"][0] for row in rows(workshop.data / "labels.jsonl")}
    lens_less = _edited(
        workshop,
        tmp_path / "lens_less",
        split=lambda row: "test" if "uplifting" in labels[row["id"]] else row["split"],
    )
    with pytest.raises(SettingError, match="no training article is in scope of uplifting; label some"):
        train(_recipe(workshop), lens_less, workshop.filters, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bases_and_filters_that_do_not_exist_are_refused(workshop: Workshop, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for fields, message in (
        ({"base": str(empty)}, "has no tokenizer.json; write one"),
        ({"base": "no/such/base"}, "it is no Hub id"),
        ({"layers": 3}, "has 2 layers; 3 cannot be kept"),
        ({"filters": ("upliftin",)}, "did you mean 'uplifting'"),
        ({"start": str(empty)}, "is no training run"),
        ({"teacher": str(empty)}, "is no training run"),
    ):
        with pytest.raises(SettingError, match=message):
            train(_recipe(workshop).model_copy(update=fields), workshop.data, workshop.filters, tmp_path / "run")


def test_the_command_is_quiet_in_a_pipe(workshop: Workshop, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'base = "{workshop.base}"\nepochs = 3\nbf16 = false\n')
    command = [
        "train", "--data", workshop.data, "--filters", workshop.filters, "-o", tmp_path / "run", "--recipe", recipe,
        "--epochs", "1", "--ranking", "margin=0.2", "--ranking", "listmle=0.1", "--filter", "uplifting",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "distilled_filters", *map(str, command)],
        capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("trained: ")
    run = read_run(tmp_path / "run")
    assert run.recipe["epochs"] == 1
    assert run.recipe["ranking"] == {"margin": 0.2, "listmle": 0.1}
    assert list(run.lenses or {}) == ["uplifting"]
