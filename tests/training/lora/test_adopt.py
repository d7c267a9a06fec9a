"""Adapters made elsewhere, by PEFT for real: the same answers as PEFT's, or a refusal that names the tensor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification
from typer.testing import CliRunner

from distilled_filters.article import Article
from distilled_filters.cli.app import app
from distilled_filters.errors import CheckpointError, HeadNotFoundError, SettingError
from distilled_filters.filter import Filter
from distilled_filters.scorers import decoder
from distilled_filters.scorers.base import Reading
from distilled_filters.spec import Dimension
from distilled_filters.training.beside import calibrate_checkpoint
from distilled_filters.training.export import ExportRefusedError
from distilled_filters.training.lora import adopt as adopt_module
from distilled_filters.training.lora.adopt import ModelReading, adopt, backbone_name
from distilled_filters.training.lora.base import find_language_model
from distilled_filters.training.lora.foreign import read_foreign
from distilled_filters.training.scaffold import Draft
from tests.language_models import make_language_model
from tests.training.lora.conftest import Forge

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")

TEXT = "the clinic of the council said people in a new year report on the week " * 3
NAMES = ("deed", "evidence", "reach")
Tensors = dict[str, Any]


@dataclass(frozen=True)
class Foreign:
    """A base model and an adapter on it, as its maker had them; and what PEFT itself answers."""

    base: Path
    adapter: Path

    def answers(self, ids: Any) -> Any:
        model = AutoModelForSequenceClassification.from_pretrained(self.base, num_labels=3, dtype=torch.float32)
        with torch.no_grad():
            return PeftModel.from_pretrained(model, self.adapter).eval()(torch.from_numpy(ids)[None]).logits[0].numpy()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    root = tmp_path_factory.mktemp("foreign")
    base = make_language_model(root / "Tiny-LM.1")
    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3, dtype=torch.float32)
    # A scale of one layer's own is what an import by hand would lose without a word.
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"],
        alpha_pattern={"layers.1.self_attn.v_proj": 16},
    )  # fmt: skip
    wrapped = get_peft_model(model, config)
    for name, each in wrapped.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            each.data = torch.randn_like(each) * 0.3
    wrapped.save_pretrained(root / "adapter")
    return Foreign(base, root / "adapter")


@pytest.fixture
def foreign(made: Foreign, tmp_path: Path) -> Foreign:
    """A copy, free to be changed."""
    return Foreign(made.base, shutil.copytree(made.adapter, tmp_path / "adapter"))


def change(foreign: Foreign, how: Callable[[Tensors], Tensors | None]) -> None:
    path = foreign.adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file(how(tensors) or tensors, path)


def configure(foreign: Foreign, **fields: Any) -> None:
    path = foreign.adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **fields}), encoding="utf-8")


def take(foreign: Foreign, filters: Path, names: tuple[str, ...] = NAMES, **reading: Any) -> Filter:
    dimensions = [Dimension(name=name, weight=1 / len(names), question=f"How much {name}?") for name in names]
    done = adopt(
        read_foreign(str(foreign.adapter)), find_language_model(str(foreign.base)),
        Draft("quiet_heroes", "People who help unasked.", dimensions), filters, "tiny_lm/v1", licence="MIT",
        reading=ModelReading(40, 20, **reading),
    )  # fmt: skip
    return Filter(done.folder, device="cpu")


def outputs(each: Filter) -> tuple[Any, Any]:
    """Return an article's window and raw scores."""
    scorer: Any = each.scorer
    reading = Reading(Article(content=TEXT))
    raw = np.array(scorer(reading).raw)
    each.unload()
    return scorer.preprocessor(reading.article).ids, raw


def old_layout(tensors: Tensors) -> Tensors:
    """As releases before 0.3, and whole state dicts, name them."""
    return {
        key.replace("lora_A.", "lora_A.default.").replace("lora_B.", "lora_B.default.")
        .replace("score.", "score.modules_to_save.default."): each
        for key, each in tensors.items()
    }  # fmt: skip


def middle_layout(tensors: Tensors) -> Tensors:
    return {key.replace("score.", "classifier.modules_to_save."): each for key, each in tensors.items()}


@pytest.mark.parametrize("layout", [dict, old_layout, middle_layout])
def test_an_imported_adapter_answers_as_peft_does(
    made: Foreign, foreign: Foreign, tmp_path: Path, layout: Callable[[Tensors], Tensors]
) -> None:
    change(foreign, layout)
    each = take(foreign, tmp_path / "filters")
    ids, raw = outputs(each)
    assert 2 not in ids[-1:], "this tokenizer puts no end token after a text, so none is read"
    exact = made.answers(ids)
    assert np.ptp(exact) > 0.1
    np.testing.assert_allclose(raw, np.clip(exact, 0, 10), atol=1e-5)
    score = each.score(TEXT)
    assert (score.stage, list(score.dimensions or ())) == ("expert", list(NAMES))
    each.unload()
    assert decoder._open == {}


def test_outputs_on_another_scale_are_multiplied(made: Foreign, foreign: Foreign, tmp_path: Path) -> None:
    ids, raw = outputs(take(foreign, tmp_path / "filters", scale=4.0))
    np.testing.assert_allclose(raw, np.clip(made.answers(ids) * 4, 0, 10), atol=4e-5)


def test_named_outputs_find_their_dimensions_by_name(made: Foreign, foreign: Foreign, tmp_path: Path) -> None:
    labels = {"id2label": {"0": "reach", "1": "deed", "2": "evidence"}}
    (foreign.adapter / "config.json").write_text(json.dumps(labels), encoding="utf-8")
    ids, raw = outputs(take(foreign, tmp_path / "filters"))
    np.testing.assert_allclose(raw, np.clip(made.answers(ids)[[1, 2, 0]], 0, 10), atol=1e-5)
    with pytest.raises(SettingError, match="calls its outputs reach, deed, evidence; the dimensions are deed, proof"):
        take(foreign, tmp_path / "others", ("deed", "proof", "reach"))


def test_a_tokenizer_that_ends_texts_ends_windows(foreign: Foreign, tmp_path: Path) -> None:
    base = shutil.copytree(foreign.base, tmp_path / "lm")
    tokenizer = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    template = tokenizer["post_processor"]
    template["single"].append({"SpecialToken": {"id": "<eos>", "type_id": 0}})
    template["special_tokens"]["<eos>"] = {"id": "<eos>", "ids": [2], "tokens": ["<eos>"]}
    (base / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    each = take(Foreign(base, foreign.adapter), tmp_path / "filters")
    ids, _ = outputs(each)
    assert ids[-1] == 2


def test_where_it_is_from_travels_with_the_head(foreign: Foreign, tmp_path: Path) -> None:
    from safetensors import safe_open

    each = take(foreign, tmp_path / "filters")
    with safe_open(each.folder / "lora" / "head.safetensors", framework="np") as file:
        said = file.metadata()
    assert said["imported_from"] == "adapter"
    assert len(said["imported_sha256"]) == 64


def test_an_imported_adapter_is_calibrated_though_there_is_no_student(
    foreign: Foreign, forge: Forge, tmp_path: Path
) -> None:
    each = take(foreign, tmp_path / "filters")
    assert list(calibrate_checkpoint(forge.data, tmp_path / "filters", "lora", tmp_path / "cache")) == ["quiet_heroes"]
    again = Filter(each.folder, device="cpu")
    assert again.parts[0].weights.percentiles.sha256 != each.parts[0].weights.percentiles.sha256
    assert again.score(TEXT).percentile is not None
    again.unload()
    assert decoder._open == {}


# --- refusals: nothing is left, and the tensor is named ------------------------------------------------


def without(part: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: each for key, each in tensors.items() if part not in key}


def with_key(key: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, key: torch.ones(3, 32)}


def zeroed(tensors: Tensors) -> None:
    tensors["base_model.model.score.weight"][1] = 0


def infinite(tensors: Tensors) -> None:
    tensors["base_model.model.score.weight"][0, 0] = torch.inf


def narrow(tensors: Tensors) -> None:
    key = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"
    tensors[key] = tensors[key][:2].contiguous()


@pytest.mark.parametrize(
    ("how", "kind", "named"),
    [
        (without("score"), HeadNotFoundError, "no head"),
        (with_key("base_model.model.classifier.weight"), HeadNotFoundError, "two heads"),
        (zeroed, HeadNotFoundError, "a row of zeros"),
        (infinite, HeadNotFoundError, "infinity"),
        (without("layers.1.self_attn.v_proj.lora_B"), CheckpointError, r"missing .*layers\.1.*v_proj\.lora_B"),
        (with_key("base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"), CheckpointError, r"layers\.7"),
        (narrow, CheckpointError, r"misshapen .*layers\.1\.self_attn\.q_proj\.lora_A"),
        (with_key("base_model.model.model.embed_tokens.weight"), CheckpointError, r"unknown: .*embed_tokens"),
        (with_key("base_model.model.score.original_module.weight"), CheckpointError, "unknown: .*original_module"),
        (with_key("base_model.model.score.dense.weight"), CheckpointError, r"unknown: .*score\.dense"),
        (with_key("score.weight"), CheckpointError, r"unknown: score\.weight"),
        (with_key("base_model.model.score.modules_to_save.default.weight"), CheckpointError, "in two layouts"),
        (with_key("base_model.model.other.0.lora_A.weight"), CheckpointError, "2 models' bodies"),
    ],
)  # fmt: skip
def test_ac18_every_key_must_be_one_of_its_own(
    foreign: Foreign, tmp_path: Path, how: Callable[[Tensors], Tensors | None], kind: type[Exception], named: str
) -> None:
    change(foreign, how)
    with pytest.raises(kind, match=named):
        take(foreign, tmp_path / "filters")
    assert not list((tmp_path / "filters").glob("*")) if (tmp_path / "filters").exists() else True
    assert decoder._open == {}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3'"),
        ({"task_type": "CAUSAL_LM"}, "task_type 'CAUSAL_LM'"),
        ({"bias": "all"}, "bias 'all'"),
        ({"of_another_time": True}, "of_another_time, which this PEFT does not know"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(foreign: Foreign, fields: dict[str, Any], named: str) -> None:
    configure(foreign, **fields)
    with pytest.raises(CheckpointError, match=named):
        read_foreign(str(foreign.adapter))


def test_pickled_weights_are_never_read(foreign: Foreign) -> None:
    (foreign.adapter / "adapter_model.safetensors").rename(foreign.adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"pickled code and is never read.*safe_serialization=True"):
        read_foreign(str(foreign.adapter))


def test_as_many_dimensions_as_outputs(foreign: Foreign, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="has 3 outputs, the filter 2 dimensions"):
        take(foreign, tmp_path / "filters", ("deed", "reach"))


def test_other_answers_than_peft_s_are_refused(
    foreign: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a setting acts in PEFT that this library does not know of."""
    by_peft = adopt_module._by_peft
    monkeypatch.setattr(adopt_module, "_by_peft", lambda *arguments: by_peft(*arguments) + 0.01)
    with pytest.raises(ExportRefusedError, match="off those that PEFT gives"):
        take(foreign, tmp_path / "filters")
    assert list((tmp_path / "filters").iterdir()) == []


def test_names_of_backbones() -> None:
    assert backbone_name("google/gemma-3-270m") == "gemma_3_270m/v1"
    assert backbone_name("models/7B-Chat") == "lm_7b_chat/v1"


# --- the command line ---------------------------------------------------------------------------------


def distillery(*arguments: object) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)), prog_name="distillery")


def test_the_command_makes_a_filter_that_scores(foreign: Foreign, tmp_path: Path) -> None:
    arguments = [
        "new-filter", "quiet_heroes", "--from-adapter", foreign.adapter, "--base", foreign.base, "--filters",
        tmp_path / "filters", "--lens", "People who help unasked.", "-d", "deed:0.5:What was done?",
        "-d", "evidence:0.3:How well proven?", "-d", "reach:0.2:How many?", "--head-tokens", 40, "--tail-tokens", 20,
    ]  # fmt: skip
    refused = distillery(*arguments)
    assert refused.exit_code != 0
    assert "--base-licence must be given" in " ".join(refused.output.split())
    done = distillery(*arguments, "--base-licence", "MIT", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["moved"] <= 1e-3
    assert document["backbone"] == "tiny_lm_1/v1"
    each = Filter(document["folder"], device="cpu")
    assert (each.checkpoint, each.score(TEXT).status.value) == ("lora", "ok")
    each.unload()
    again = distillery(*arguments, "--base-licence", "MIT")
    assert again.exit_code != 0
    assert "exists" in again.output
