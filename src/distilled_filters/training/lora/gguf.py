"""A GGUF file's language model as safetensors: what adapters are trained on and scored with."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer

from distilled_filters.errors import SettingError

__all__ = ["convert_gguf"]

# Fields of a loaded config that describe the GGUF file, not the model.
_OF_THE_FILE = ("quantization_config", "_name_or_path", "dtype")


def convert_gguf(path: Path, output: Path) -> Path:
    """Write `config.json`, `model.safetensors` (bf16) and `tokenizer.json` of a GGUF file into a folder.

    transformers reads GGUF and refuses to save what it has read, so weights and config are
    written apart. The language model's output layer is left out: an expert needs none.

    Raises:
        SettingError: when the file cannot be read, or the folder holds something already.
    """
    if output.exists() and any(output.iterdir()):
        raise SettingError(f"{output} is not empty; name a new folder")
    try:
        model = AutoModel.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.bfloat16)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise SettingError(f"{path} cannot be read as GGUF by transformers: {error}") from error
    output.mkdir(parents=True, exist_ok=True)
    weights = output / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, weights)
    # safetensors lets only its owner read what it writes.
    weights.chmod(0o644)
    config = {key: value for key, value in model.config.to_dict().items() if key not in _OF_THE_FILE}
    (output / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    tokenizer.backend_tokenizer.save(str(output / "tokenizer.json"))
    return output
