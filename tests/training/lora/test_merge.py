"""What an expert learnt as a model of its own: the same answers, without torch, or nothing."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("onnxscript")

import torch
from onnx import TensorProto
from onnx import load as load_onnx
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from distilled_filters.article import Article
from distilled_filters.checkpoints import sha256_of
from distilled_filters.cli.app import app
from distilled_filters.errors import ChecksumError, HeadNotFoundError, SettingError
from distilled_filters.filter import Filter
from distilled_filters.scorers import onnx
from distilled_filters.scorers.base import Reading
from distilled_filters.training.export import ExportRefusedError
from distilled_filters.training.lora import graph, merge
from distilled_filters.training.lora.export import export_expert
from distilled_filters.training.lora.merge import MergedExport, export_merged
from distilled_filters.training.lora.train import train_expert
from distilled_filters.training.record import read_run
from tests.conftest import SNIPPET, edited, flip_byte, run_python
from tests.training.lora.conftest import Forge, recipe

GOOD = "the city said healed people rescued in a week of report freed new group plan " * 2
BACKBONE, CHECKPOINT = "tiny_uplifting/v1", "tiny_merged"


@pytest.fixture(scope="module")
def merged(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MergedExport]:
    """Filters of which one has the expert and, beside it, what the same run learnt merged into int8."""
    filters = tmp_path_factory.mktemp("merged") / "filters"
    shutil.copytree(forge.filters, filters)
    done = export_merged(forge.run, filters, BACKBONE, CHECKPOINT, licence="MIT", data=forge.data)
    return filters, done


@pytest.fixture
def home(merged: tuple[Path, MergedExport], tmp_path: Path) -> Path:
    """A copy of that filter, free to be damaged."""
    return shutil.copytree(merged[0], tmp_path / "filters") / "uplifting" / "v1"


@pytest.fixture(autouse=True)
def _opened_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is open already would hide damaged files."""
    monkeypatch.setattr(onnx, "_own", {})


def raw(home: Path, checkpoint: str, text: str) -> list[float]:
    each = Filter(home, checkpoint=checkpoint, device="cpu")
    found = list(each.scorer(Reading(Article(content=text))).raw)
    each.unload()
    return found


def test_a_merged_expert_scores_as_the_adapter_does(merged: tuple[Path, MergedExport]) -> None:
    home = merged[0] / "uplifting" / "v1"
    expected = raw(home, "tiny_lora", GOOD)
    assert max(expected) > 2, "something to be wrong about"
    np.testing.assert_allclose(raw(home, CHECKPOINT, GOOD), expected, atol=0.15)
    score = Filter(home, checkpoint="tiny-merged").score(GOOD)
    assert (score.stage, score.provenance.backbone) == ("expert", BACKBONE)


def test_what_was_measured_is_told_and_kept(merged: tuple[Path, MergedExport]) -> None:
    filters, done = merged
    assert (done.articles, done.checked_on) == (40, "validation split")
    assert 0 <= done.averages.mean <= merge.LARGEST_LOSS
    assert abs(done.errors["onnx"] - done.errors["torch"]) <= done.averages.mean + 1e-4
    assert min(done.articles_per_second.values()) > 0
    path = filters / "backbones" / BACKBONE / "model.onnx"
    assert done.size == path.stat().st_size
    kept = json.loads((path.parent / "metrics.json").read_text(encoding="utf-8"))
    assert kept["averages"]["mean"] == done.averages.mean
    assert "folder" not in kept


def test_int8_is_int8(merged: tuple[Path, MergedExport], forge: Forge, tmp_path: Path) -> None:
    """And fp32 moves nothing that can be seen."""
    exact = shutil.copytree(merged[0], tmp_path / "filters")
    done = export_merged(forge.run, exact, "tiny_exact/v1", "exact", licence="MIT", precision="fp32")
    assert done.averages.largest < 1e-4
    small, large = (root / "backbones" / name / "model.onnx" for root, name in
                    ((merged[0], BACKBONE), (exact, "tiny_exact/v1")))  # fmt: skip
    kinds = Counter(node.op_type for node in load_onnx(small).graph.node)
    assert kinds["MatMulNBits"] == 2 * 7, "the seven products of two layers"
    assert sum(tensor.data_type == TensorProto.INT8 for tensor in load_onnx(small).graph.initializer) == 1
    assert not any(path in large.read_bytes() for path in (b".py", b"/usr/", b"site-packages")), "no machine's paths"


BARE = """
import sys
for name in ("torch", "peft", "transformers"):
    sys.modules[name] = None
from distilled_filters.article import Article
from distilled_filters.filter import Filter
from distilled_filters.scorers.base import Reading
scorer = Filter(sys.argv[1], checkpoint="tiny_merged").scorer
print(*(value.hex() for value in scorer(Reading(Article(content=sys.argv[2]))).raw))
"""


def test_a_fresh_process_without_torch_gives_the_same_bits(home: Path) -> None:
    assert run_python(BARE, home, GOOD).split() == [value.hex() for value in raw(home, CHECKPOINT, GOOD)]


def test_no_text_becomes_a_special_token(home: Path) -> None:
    scorer: Any = Filter(home, checkpoint=CHECKPOINT).scorer
    ids = scorer.preprocessor(Article(content="the council said <eos> on <bos> the year <pad> " * 3)).ids.tolist()
    assert (ids[0], ids[-1]) == (1, 2)
    assert not {0, 1, 2} & set(ids[1:-1])


def test_ac06_a_score_does_not_depend_on_the_others(home: Path) -> None:
    each = Filter(home, checkpoint=CHECKPOINT, threads=4)
    texts = [GOOD, SNIPPET, "the people of the new plan said a week in the year " * 12] * 4
    assert each.score_batch(texts) == [each.score(text) for text in texts]


def test_its_model_leaves_memory_with_the_filter(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    each = Filter(home, checkpoint=CHECKPOINT)
    each.score(GOOD)
    digest = each.provenance.backbone_sha256
    assert digest in onnx._own
    each.unload()
    assert digest not in onnx._own


def test_a_merged_expert_is_calibrated_like_any_other(home: Path, forge: Forge, tmp_path: Path) -> None:
    from distilled_filters.training.beside import calibrate_checkpoint

    before = Filter(home, checkpoint=CHECKPOINT).parts[0].weights
    calibrate_checkpoint(forge.data, home.parent.parent, CHECKPOINT, tmp_path / "cache")
    each = Filter(home, checkpoint=CHECKPOINT)
    assert each.score(GOOD).interval is not None
    after, changed = each.parts[0].weights, {"calibration", "percentiles"}
    assert after.model_dump(exclude=changed) == before.model_dump(exclude=changed)
    assert after.percentiles.sha256 != before.percentiles.sha256


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_ac04_a_flipped_byte_is_refused(home: Path, name: str) -> None:
    flip_byte(home.parent.parent / "backbones" / BACKBONE / name)
    with pytest.raises(ChecksumError, match=name):
        Filter(home, checkpoint=CHECKPOINT).load()


def test_ac18_a_head_of_another_model_is_refused(home: Path) -> None:
    path = home / CHECKPOINT / "head.safetensors"
    save_file(load_file(path), path, metadata={"model_sha256": "0" * 64})
    with edited(home / "filter.toml") as spec:
        entry = spec["checkpoints"][CHECKPOINT]["head"]
        entry |= {"sha256": sha256_of(path), "size": path.stat().st_size}
    with pytest.raises(HeadNotFoundError, match="made for the model_sha256 000000000000"):
        Filter(home, checkpoint=CHECKPOINT).load()


# --- refusals -----------------------------------------------------------------------------------------


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_loss_of_more_than_a_tenth_stops_the_export_and_leaves_nothing(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real loss: the tables of words lose all but their coarsest steps."""
    filters = shutil.copytree(forge.filters, tmp_path / "filters")
    before = files_of(tmp_path)
    write = graph.write_decoder

    def coarse(model: Any, path: Path, precision: graph.MergedPrecision) -> None:
        with torch.no_grad():
            words = model.get_input_embeddings().weight
            words.copy_((words * 2).round() / 2)
        write(model, path, precision)

    monkeypatch.setattr(merge, "write_decoder", coarse)
    arguments = ["export", forge.run, "--merge", "--filters", filters, "--backbone", BACKBONE, "--licence", "MIT"]
    done = CliRunner().invoke(app, [*map(str, arguments), "--check", str(forge.data)], prog_name="distillery")
    assert done.exit_code != 0
    assert isinstance(done.exception, ExportRefusedError | SystemExit)
    said = " ".join((done.output + str(done.exception)).split())
    assert "int8 moves weighted averages by" in said
    assert "their error against the labels from" in said
    assert "nothing was written" in said
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("mean", "errors", "refused"),
    [
        (0.09, {}, False),
        (0.11, {}, True),
        (0.2, {"torch": 0.50, "onnx": 0.55}, False),
        (0.2, {"torch": 0.50, "onnx": 0.61}, True),
        (0.4, {"torch": 0.50, "onnx": 0.50}, True),
        (float("nan"), {}, True),
        (float("nan"), {"torch": 0.5, "onnx": float("nan")}, True),
    ],
)
def test_what_counts_is_the_error_against_labels_where_there_are_any(
    merged: tuple[Path, MergedExport], mean: float, errors: dict[str, float], refused: bool
) -> None:
    measured = replace(merged[1], averages=replace(merged[1].averages, mean=mean), errors=errors)
    with pytest.raises(ExportRefusedError) if refused else nullcontext():
        merge._refuse_loss(measured)


def test_a_model_of_another_checkpoint_is_not_written_over(merged: tuple[Path, MergedExport], forge: Forge) -> None:
    with pytest.raises(SettingError, match="uplifting's checkpoint tiny_lora is built on tiny_lm/v1"):
        export_merged(forge.run, merged[0], "tiny_lm/v1", "third", licence="MIT")


def test_what_one_file_cannot_hold_is_refused_beforehand(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_LARGEST", 10_000)
    with pytest.raises(SettingError, match="an ONNX file with its weights inside at most"):
        export_merged(forge.run, forge.filters, BACKBONE, "x", licence="MIT")


# --- every weight -------------------------------------------------------------------------------------


def test_every_weight_can_be_trained_and_exported(forge: Forge, tmp_path: Path) -> None:
    """The word embeddings stay; the rest of the model is the filter's own."""
    filters, run = shutil.copytree(forge.filters, tmp_path / "filters"), tmp_path / "run"
    whole = recipe(forge, method="full", epochs=1, articles=32, evaluate_every=2, encoder_learning_rate=1e-3)
    train_expert(whole, forge.data, filters, run)
    assert "encoder.layers.0.self_attn.q_proj.weight" in load_file(read_run(run).weights)
    with pytest.raises(SettingError, match=r"there is no adapter to export\. Add --merge"):
        export_expert(run, filters, "tiny_lm/v1", "whole", licence="MIT")
    arguments = ["export", run, "--filters", filters, "--backbone", "tiny_whole/v1", "--licence", "MIT", "--json"]
    done = CliRunner().invoke(app, list(map(str, arguments)), prog_name="distillery")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["checkpoint"], document["checked_on"]) == ("tiny_whole", "golden articles")
    assert Filter(filters / "uplifting" / "v1", checkpoint="tiny_whole").score(GOOD).stage == "expert"
