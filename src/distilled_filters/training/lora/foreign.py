"""A PEFT sequence-classification adapter made elsewhere: its files, read strictly, by the names this library has."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from distilled_filters.checkpoints import sha256_of
from distilled_filters.errors import CheckpointError, HeadNotFoundError
from distilled_filters.training.lora.base import from_hub

__all__ = ["WRAPPED", "ForeignAdapter", "read_foreign"]

WRAPPED = "base_model.model."
"""What PEFT puts before the name of every tensor."""

_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"
# `modules_to_save` and the adapter's name stand in files of old releases, and in whole state dicts.
_HEAD = re.compile(r"(score|classifier)(?:\.modules_to_save)?(?:\.default)?\.(weight|bias)")
_LAYER = re.compile(r"(\w+)\.(.+)\.(lora_[AB])(?:\.default)?\.weight")


@dataclass(frozen=True)
class ForeignAdapter:
    """An adapter and its linear head.

    Attributes:
        source: Where it is from, with its commit where that is the Hub.
        sha256: Of its `adapter_model.safetensors`.
        base: The language model it names, and that one's revision.
        config: Its settings.
        layers: Its matrices, by their names on a model's body.
        body: What a whole model calls its body, such as `model`.
        weight: Of the head, (n, dims), in fp32.
        bias: Of the head, (n,), zeros where it has none.
        labels: The outputs' names, where its config.json has some.
    """

    source: str
    sha256: str
    base: tuple[str | None, str | None]
    config: LoraConfig
    layers: dict[str, Tensor]
    body: str
    weight: Tensor
    bias: Tensor
    labels: tuple[str, ...]


def read_foreign(place: str, revision: str | None = None) -> ForeignAdapter:
    """Read an adapter from a folder or from the Hub, there at one commit.

    Raises:
        SettingError: when there is none.
        CheckpointError: when a key is none of a LoRA adapter with one linear head, naming it; when the
            config is of another kind; when the weights are not safetensors.
        HeadNotFoundError: when the head is missing, untrained or not finite (AC18).
    """
    if Path(place).is_dir():
        folder, source = Path(place), Path(place).name
    else:
        folder, commit = from_hub(place, revision, (_WEIGHTS, _CONFIG, "config.json"), "adapter")
        source = f"{place}@{commit}"
    if not (folder / _WEIGHTS).is_file():
        raise CheckpointError(
            f"{source} has no {_WEIGHTS}; a .bin or .pt holds pickled code and is never read. Where you trust it, "
            "convert it with PEFT: model.save_pretrained(folder, safe_serialization=True)"
        )
    if not (folder / _CONFIG).is_file():
        raise CheckpointError(f"{source} has no {_CONFIG}")
    fields = _json(folder / _CONFIG)
    try:
        tensors = load_file(folder / _WEIGHTS)
    except SafetensorError as error:
        raise CheckpointError(f"{source}: {_WEIGHTS} is not safetensors: {error}") from error
    body, layers, head = _sorted(tensors, source)
    weight, bias = _head(head, source)
    return ForeignAdapter(
        source=source,
        sha256=sha256_of(folder / _WEIGHTS),
        base=(fields.get("base_model_name_or_path"), fields.get("revision")),
        config=_config(fields, source),
        layers=layers,
        body=body,
        weight=weight,
        bias=bias,
        labels=_labels(folder / "config.json"),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path} is no JSON object")
    return fields


def _config(fields: dict[str, Any], source: str) -> LoraConfig:
    """Return the settings that matter on a model's body, and refuse those that this PEFT does not know."""
    for key, wanted in (("peft_type", "LORA"), ("task_type", "SEQ_CLS")):
        if fields.get(key) != wanted:
            raise CheckpointError(f"{source}: {_CONFIG} has {key} {fields.get(key)!r}; only {wanted} can be taken over")
    if fields.get("bias", "none") != "none":
        raise CheckpointError(f"{source}: {_CONFIG} has bias {fields['bias']!r}; only 'none' can be taken over")
    known = set(inspect.signature(LoraConfig).parameters)
    unknown = sorted(key for key in fields.keys() - known if fields[key])
    if unknown:
        raise CheckpointError(f"{source}: {_CONFIG} has {', '.join(unknown)}, which this PEFT does not know; update it")
    # The head is written apart, and where the model's class stands in a library matters to no one here.
    left = {"task_type": None, "modules_to_save": None, "auto_mapping": None, "inference_mode": True}
    try:
        return LoraConfig(**{**{key: each for key, each in fields.items() if key in known}, **left})
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: {_CONFIG} is not the config of a LoRA adapter: {error}") from error


def _sorted(tensors: dict[str, Tensor], source: str) -> tuple[str, dict[str, Tensor], dict[str, Tensor]]:
    """Sort tensors into the adapter's matrices and the head's, by their plain names.

    Raises:
        CheckpointError: naming every key that is neither, or that stands there twice.
    """
    bodies: set[str] = set()
    layers: dict[str, Tensor] = {}
    head: dict[str, Tensor] = {}
    strange, twice = [], []
    for key, tensor in tensors.items():
        name = key.removeprefix(WRAPPED)
        if name != key and (found := _HEAD.fullmatch(name)):
            place, plain = head, f"{found[1]}.{found[2]}"
        elif name != key and (found := _LAYER.fullmatch(name)):
            place, plain = layers, f"{WRAPPED}{found[2]}.{found[3]}.weight"
            bodies.add(found[1])
        else:
            strange.append(key)
            continue
        if plain in place:
            twice.append(key)
        place[plain] = tensor
    if strange or twice or len(bodies) != 1:
        what = [f"unknown: {', '.join(sorted(strange))}"] if strange else []
        what += [f"in two layouts: {', '.join(sorted(twice))}"] if twice else []
        what += [f"of {len(bodies)} models' bodies"] if len(bodies) != 1 else []
        raise CheckpointError(
            f"{source}: keys that are not those of a LoRA adapter and one linear head, {'; '.join(what)}; "
            "save it with PEFT's save_pretrained, with nothing but score or classifier in modules_to_save"
        )
    return bodies.pop(), layers, head


def _head(head: dict[str, Tensor], source: str) -> tuple[Tensor, Tensor]:
    names = {key.partition(".")[0] for key in head}
    weights = [head[f"{name}.weight"] for name in names if f"{name}.weight" in head]
    if len(names) != 1 or not weights:
        raise HeadNotFoundError(
            f"{source}: {'two heads' if len(names) > 1 else 'no head'} among its tensors (score.weight or "
            "classifier.weight); without its own, an adapter would answer by a random one"
        )
    weight = weights[0].float()
    if weight.ndim != 2:
        raise HeadNotFoundError(f"{source}: its head has shape {tuple(weight.shape)}, not (outputs, dims)")
    bias = head.get(f"{names.pop()}.bias", torch.zeros(len(weight))).float()
    if bias.shape != weight.shape[:1]:
        raise HeadNotFoundError(f"{source}: its head's bias has shape {tuple(bias.shape)}, not ({len(weight)},)")
    if not (weight.isfinite().all() and bias.isfinite().all() and weight.any(dim=1).all()):
        raise HeadNotFoundError(f"{source}: its head holds what was not learnt: a row of zeros, NaN or infinity")
    return weight, bias


def _labels(path: Path) -> tuple[str, ...]:
    """Return the outputs' names in order; none where the config has none, or those nobody chose."""
    names = _json(path).get("id2label") if path.is_file() else None
    if not isinstance(names, dict) or set(names) != {str(i) for i in range(len(names))}:
        return ()
    labels = tuple(str(names[str(i)]) for i in range(len(names)))
    return () if any(re.fullmatch(r"LABEL_\d+", label) for label in labels) else labels
