"""Tiny decoders and experts on them: what the tests of LoRA checkpoints share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import Document, House, edited, file_ref

WORDS = ("the", "a", "clinic", "of", "in", "and", "council", "people", "week", "report", "said", "year", "new", "on")
CHECKPOINT = "tiny_lora"
_SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", ".", "[...]")


def make_language_model(folder: Path, words: Sequence[str] = WORDS, seed: int = 0) -> Path:
    """Write a Llama of two narrow layers as the Hub would hold it, with its output layer; return the folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = {word: i for i, word in enumerate((*_SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(_SPECIAL[:3]))
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def add_language_model(house: House) -> Path:
    """Put such a model into a house's backbones, with its spec; return its folder."""
    if (house.root / "backbones").is_symlink():
        house.own_backbone()
    folder = house.root / "backbones" / "tiny_lm" / "v1"
    if folder.exists():
        return folder
    make_language_model(folder)
    (folder / "backbone.toml").write_text("", encoding="utf-8")
    with edited(folder / "backbone.toml") as spec:
        spec |= {
            "kind": "decoder", "name": "tiny_lm", "version": 1, "base": "tiny", "licence": "Apache-2.0",
            "max_tokens": 512, "start": "<bos>", "end": "<eos>", "pad": "<pad>",
            "config": file_ref(folder / "config.json"), "tokenizer": file_ref(folder / "tokenizer.json"),
            "weights": [file_ref(folder / "model.safetensors")],
        }  # fmt: skip
    return folder


def add_expert(house: House, name: str = "uplifting", seed: int = 1) -> Path:
    """Give a filter of a house a LoRA checkpoint with a random adapter and head; return the filter's folder."""
    import torch
    from peft import LoraConfig
    from safetensors.torch import load_file, save_file

    from distilled_filters.scorers.decoder import load_model, with_adapter
    from distilled_filters.scorers.placement import place

    base = add_language_model(house)
    home = house.root / name / "v1"
    if not home.exists():
        house.add(name)
    folder = home / CHECKPOINT
    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
    model = load_model(base / "config.json", [base / "model.safetensors"], place("cpu", "fp32"), "tiny_lm")
    with_adapter(model, config, "default").save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    adapter = folder / "adapter_model.safetensors"
    # An adapter begins as nothing; this one is to have learnt something.
    save_file({key: torch.randn_like(each) * 0.1 for key, each in load_file(adapter).items()}, adapter)
    write_head(home, {"weight": torch.randn(7, 32) * 0.2, "bias": torch.full((7,), 1.5)})
    return home


def write_head(home: Path, tensors: dict[str, Any], adapter: str | None = None) -> None:
    """Write an expert's head for its adapter, or for another, with tables and spec."""
    from safetensors.torch import save_file

    folder = home / CHECKPOINT
    digest = file_ref(folder / "adapter_model.safetensors")["sha256"] if adapter is None else adapter
    save_file(tensors, folder / "head.safetensors", metadata={"adapter_sha256": digest})
    tables: dict[str, Document] = {
        "calibration": {"dimensions": {}, "intervals": {"coverage": 0.9, "edges": [], "half_widths": [10.0]}},
        "percentiles": {"source": "none yet", "averages": [0.0, 10.0]},
    }
    for table, content in tables.items():
        content["head_sha256"] = file_ref(folder / "head.safetensors")["sha256"]
        (folder / f"{table}.json").write_text(json.dumps(content), encoding="utf-8")
    redigest(home)


def redigest(home: Path) -> None:
    """Write the digests of an expert's files as they are now into its filter's spec."""
    files = {
        "adapter": "adapter_model.safetensors", "adapter_config": "adapter_config.json", "head": "head.safetensors",
        "calibration": "calibration.json", "percentiles": "percentiles.json",
    }  # fmt: skip
    refs: Document = {
        key: {**file_ref(home / CHECKPOINT / name), "path": f"{CHECKPOINT}/{name}"} for key, name in files.items()
    }
    backbone = home.parent.parent / "backbones" / "tiny_lm" / "v1"
    with edited(home / "filter.toml") as spec:
        spec["checkpoints"][CHECKPOINT] = {
            "kind": "lora", "backbone": "tiny_lm/v1", **refs,
            "backbone_sha256": file_ref(backbone / "model.safetensors")["sha256"],
            "window": {"prefix": "", "head_tokens": 40, "tail_tokens": 20},
        }  # fmt: skip
