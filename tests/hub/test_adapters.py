"""An adapter made elsewhere comes from the Hub at one commit, and no pickle comes at all."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import torch
from safetensors.torch import save

from distilled_filters.errors import CheckpointError, SettingError
from distilled_filters.training.lora.foreign import read_foreign
from tests.hub.server import Hub

NAME = "example/heroes-lora"


def files() -> dict[str, bytes]:
    layer = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    tensors = {
        f"{layer}A.weight": torch.ones(2, 8),
        f"{layer}B.weight": torch.ones(8, 2),
        "base_model.model.score.weight": torch.ones(3, 8),
    }
    config = {"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "base_model_name_or_path": "example/base"}
    return {
        "adapter_model.safetensors": save(tensors),
        "adapter_config.json": json.dumps(config).encode(),
        "training_args.bin": b"\x80\x04N.",
    }


def test_an_adapter_is_pinned_at_its_commit(hub: Hub) -> None:
    first = hub.offer(NAME, files())
    hub.offer(NAME, {"adapter_config.json": b"{}"})
    found = read_foreign(NAME, first)
    assert found.source == f"{NAME}@{first}"
    assert found.base == ("example/base", None)
    assert found.weight.shape == (3, 8)
    asked = " ".join(hub.asked)
    assert "adapter_model.safetensors" in asked
    assert "training_args.bin" not in asked
    with pytest.raises(CheckpointError, match="peft_type None"):
        read_foreign(NAME)


def test_what_the_hub_lacks_is_said_with_a_remedy(hub: Hub) -> None:
    with pytest.raises(SettingError, match=r"no adapter 'example/nothing'.*no such repository, or a private one"):
        read_foreign("example/nothing")
