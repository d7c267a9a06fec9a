"""A decoder language model that filters share: weights once, a LoRA adapter a filter (extra `[lora]`).

The model is opened once for its digest, device and precision. Windows are padded on the
right and answers are read at each window's last token; as a decoder looks back only, what
stands after it cannot matter. That is checked when the model is opened (AC19).
"""

from __future__ import annotations

import gc
import json
import os
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING, BitsAndBytesConfig
from transformers.utils import logging

from distilled_filters import checkpoints
from distilled_filters.errors import CheckpointError, RecordError
from distilled_filters.preprocess import open_tokenizer
from distilled_filters.scorers.forks import fork_gate
from distilled_filters.scorers.placement import Placement, check_memory
from distilled_filters.spec import DecoderSpec, read_backbone_spec
from distilled_filters.status import Status
from distilled_filters.threads import thread_count

__all__ = [
    "Decoder",
    "adapter_tensors",
    "last_token",
    "load_model",
    "lora_config",
    "open_adapter",
    "padded",
    "quietly",
    "release_adapter",
    "with_adapter",
]

_open: dict[tuple[str, str, str], Decoder] = {}

# What a language model has for the next word, and an expert has no use for.
_OUTPUT_LAYER = "lm_head."
# How far an answer may move when the window stands in a batch, relative to its own length.
_TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 2e-2, "4bit": 1e-1}


class Decoder:
    """An open language model and the adapters that filters have brought; share it through `open_adapter`."""

    def __init__(self, spec: DecoderSpec, model: nn.Module, tokenizer: Tokenizer, placement: Placement) -> None:
        """Check that answers can be read at the last token.

        Raises:
            CheckpointError: when the pad token is none, or what follows a window changes its answer.
        """
        self.spec = spec
        self.tokenizer = tokenizer
        self.placement = placement
        self.users: Counter[str] = Counter()
        self._model: Any = model.eval().requires_grad_(False)
        self._active: str | None = None
        self._lock = threading.Lock()
        self._pad = self._known(spec.pad, "pad")
        self._check_reading()

    @property
    def dims(self) -> int:
        """The length of an answer."""
        return int(self._model.config.hidden_size)

    def attach(self, name: str, config: LoraConfig, tensors: Mapping[str, Tensor]) -> None:
        """Put an adapter on the model, once, and count its user.

        Raises:
            CheckpointError: when tensors are missing, extra or misshapen.
        """
        if not self.users[name]:
            with self._lock:
                if isinstance(self._model, PeftModel):
                    self._model.add_adapter(name, config)
                else:
                    self._model = with_adapter(self._model, config, name)
                self._active = None
                try:
                    _check_adapter(adapter_tensors(self._model, name), tensors)
                    set_peft_model_state_dict(self._model, dict(tensors), adapter_name=name)
                except BaseException:
                    self._remove(name)
                    raise
                self._model.eval().requires_grad_(False)
        self.users[name] += 1

    def detach(self, name: str) -> None:
        """Count one user less, and take the adapter off after its last."""
        self.users[name] -= 1
        if self.users[name] <= 0:
            del self.users[name]
            with self._lock:
                self._remove(name)

    def answers(self, adapter: str, windows: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        """Return the model's last hidden state at each window's end under an adapter, (n, dims).

        Raises:
            RecordError: with `Status.ERROR` when the runtime fails, as when memory is short.
        """
        try:
            with fork_gate, self._lock:
                if self._active != adapter:
                    self._model.set_adapter(adapter)
                    self._model.requires_grad_(False)
                    self._active = adapter
                found = self._run(windows)
        except (RuntimeError, ValueError) as error:
            raise RecordError(Status.ERROR, f"{self.spec.name} failed on {len(windows)} windows: {error}") from error
        return found

    def _run(self, windows: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        ids, lengths = padded([torch.from_numpy(window) for window in windows], self._pad)
        device = self.placement.device
        with torch.inference_mode():
            hidden = self._model(input_ids=ids.to(device), use_cache=False).last_hidden_state
            found: npt.NDArray[np.float32] = last_token(hidden, lengths.to(device)).float().cpu().numpy()
        return found

    def _remove(self, name: str) -> None:
        if len(self._model.peft_config) > 1:
            self._model.delete_adapter(name)
        else:
            self._model = self._model.unload()
        self._active = None

    def _known(self, token: str, role: str) -> int:
        identifier, size = self.tokenizer.token_to_id(token), self._model.config.vocab_size
        if identifier is None or identifier >= size:
            raise CheckpointError(
                f"{self.spec.name}: its {role} token {token!r} is not among the {size:,} the model knows"
            )
        return int(identifier)

    def _check_reading(self) -> None:
        """Read a short window alone, and beside a long one in a batch of eight."""
        end = self._known(self.spec.end, "end")
        start = [] if self.spec.start is None else [self._known(self.spec.start, "start")]
        long = np.array([*start, *(i % 100 for i in range(3, 15)), end], dtype=np.int64)
        short = np.concatenate([long[:4], long[-1:]])
        (alone,), together = self._run([short]), self._run([short, *[long] * 7])[0]
        moved = float(np.linalg.norm(alone - together) / max(float(np.linalg.norm(alone)), 1e-9))
        if not moved <= _TOLERANCE[self.placement.precision]:
            raise CheckpointError(
                f"{self.spec.name} answers otherwise in a batch than alone (by {moved:.1%}): it looks at padding after "
                "the last token, so its answers cannot be read there; it is no decoder, or its config says so"
            )


def padded(windows: Sequence[Tensor], pad: int) -> tuple[Tensor, Tensor]:
    """Pad windows on the right to the longest; return them (n, tokens) and their lengths (n,)."""
    return (
        nn.utils.rnn.pad_sequence(list(windows), batch_first=True, padding_value=pad),
        torch.tensor([len(window) for window in windows]),
    )


def last_token(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Return the states (n, dims) at the last tokens of windows padded on the right (n, tokens, dims)."""
    return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]


def load_model(config: Path, weights: Sequence[Path], placement: Placement, name: str) -> nn.Module:
    """Load a language model's body, without its output layer; nothing else in its folder is looked at.

    Raises:
        CheckpointError: when the config asks for code of its own or for weights that are not there.
        NotEnoughMemoryError: when it would not fit.
    """
    fields = json.loads(config.read_text(encoding="utf-8"))
    kind = fields.get("model_type")
    if "auto_map" in fields or kind not in CONFIG_MAPPING:
        raise CheckpointError(f"{name}: {config} asks for code of its own or an unknown model_type ({kind!r})")
    try:
        check_memory(_parameters(weights), placement, name)
        state = {
            key: tensor
            for path in weights
            for key, tensor in load_file(path).items()
            if not key.startswith(_OUTPUT_LAYER)
        }
    except SafetensorError as error:
        raise CheckpointError(f"{name}: not safetensors: {error}") from error
    options: dict[str, Any] = {"dtype": placement.dtype}
    if placement.precision == "4bit":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
        options["device_map"] = {"": placement.device}
    settings = CONFIG_MAPPING[kind].from_dict(fields)
    with quietly():
        model, report = MODEL_MAPPING[type(settings)].from_pretrained(
            None, config=settings, state_dict=state, output_loading_info=True, **options
        )
    if report["missing_keys"] or report["mismatched_keys"] or report["unexpected_keys"]:
        raise CheckpointError(
            f"{name}: its weights do not fit its config; missing {_few(report['missing_keys'])}, misshapen "
            f"{_few(report['mismatched_keys'])}, unknown {_few(report['unexpected_keys'])}"
        )
    loaded: nn.Module = model if placement.precision == "4bit" else model.to(placement.device)
    return loaded


def with_adapter(model: nn.Module, config: LoraConfig, name: str) -> PeftModel:
    """Put a fresh adapter on a model."""
    with quietly():
        return PeftModel(model, config, adapter_name=name)


def adapter_tensors(model: nn.Module, name: str) -> dict[str, Tensor]:
    """Return an adapter's tensors by the names they have in files."""
    # Left to itself, peft asks the Hub whether the vocabulary has grown.
    found: dict[str, Tensor] = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    return found


def lora_config(path: Path) -> LoraConfig:
    """Read an `adapter_config.json`.

    Raises:
        CheckpointError: when it is not one of a LoRA adapter.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields.pop("peft_type", None) != "LORA":
            raise ValueError("its peft_type is not LORA")
        # Where the model's class stands in a library matters only to those who look for it there.
        return LoraConfig(**{**fields, "inference_mode": True, "auto_mapping": None})
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: not the config of a LoRA adapter: {error}") from error


def open_adapter(
    folder: Path, digest: str, owner: str, placement: Placement, name: str, config: Path, adapter: Path
) -> Decoder:
    """Return the process's one open model with this digest and placement, with an adapter on it.

    Args:
        folder: The model's folder with its `backbone.toml`.
        digest: The weights the adapter was trained on.
        owner: The filter that asks, for messages.
        placement: Where the model runs.
        name: The adapter's own digest, under which its users share it.
        config: Its `adapter_config.json`.
        adapter: Its safetensors.

    Raises:
        CheckpointError: when the folder holds other weights, or a file is missing, damaged or does not fit.
    """
    settings, tensors = lora_config(config), load_file(adapter)
    with fork_gate.opening:
        key = (digest, str(placement.device), placement.precision)
        if key not in _open:
            _open[key] = _open_decoder(folder, digest, owner, placement)
        try:
            _open[key].attach(name, settings, tensors)
        finally:
            _close_if_unused(key)
        return _open[key]


def release_adapter(decoder: Decoder, name: str) -> None:
    """Count one user of an adapter less; the model leaves memory with its last adapter."""
    with fork_gate.opening:
        decoder.detach(name)
        for key in [key for key, each in _open.items() if each is decoder]:
            _close_if_unused(key)


def _close_if_unused(key: tuple[str, str, str]) -> None:
    if not _open[key].users:
        del _open[key]
        gc.collect()
        if key[1].startswith("cuda"):
            torch.cuda.empty_cache()


def _open_decoder(folder: Path, digest: str, owner: str, placement: Placement) -> Decoder:
    spec = read_backbone_spec(folder / "backbone.toml", DecoderSpec)
    name = f"{spec.name}/v{spec.version}"
    if spec.digest != digest:
        raise CheckpointError(
            f"{name} in {folder} has weights {spec.digest[:12]}..., the adapter was trained on {digest[:12]}...; "
            "install the filter and its language model from one release"
        )
    config, tokenizer, *weights = (checkpoints.locate(ref, folder, spec.hub, owner) for ref in spec.files)
    if placement.device.type == "cpu":
        # torch counts the machine's processors, not those this process may use (AC12).
        torch.set_num_threads(thread_count())
    return Decoder(spec, load_model(config, weights, placement, name), open_tokenizer(tokenizer), placement)


def _check_adapter(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    there, given = ({key: tuple(tensor.shape) for key, tensor in each.items()} for each in (expected, found))
    if there != given:
        wrong = {key for key in there.keys() & given.keys() if there[key] != given[key]}
        raise CheckpointError(
            f"the adapter does not fit the model: missing {_few(there.keys() - given.keys())}, extra "
            f"{_few(given.keys() - there.keys())}, misshapen {_few(wrong)}"
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the libraries' bars, and what they say of each other's old names, from whoever scores articles."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".is_gradient_checkpointing. is deprecated")
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _parameters(weights: Sequence[Path]) -> int:
    """Count parameters from the files' headers alone."""
    total = 0
    for path in weights:
        with safe_open(path, framework="pt") as file:
            total += sum(int(np.prod(file.get_slice(key).get_shape())) for key in file.keys())  # noqa: SIM118
    return total


def _few(keys: Any) -> str:
    names = sorted(map(str, keys))
    return ("none" if not names else ", ".join(names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _start_afresh() -> None:
    """After a fork, a child's first parallel region would wait for threads that only its parent has."""
    torch.set_num_threads(1)
    for decoder in _open.values():
        decoder._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
