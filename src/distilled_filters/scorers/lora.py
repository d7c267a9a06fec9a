"""The LoRA expert: a language model under a filter's adapter, and a regression head at its last token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open
from tokenizers import Tokenizer

from distilled_filters.errors import DistilledFiltersError, HeadNotFoundError
from distilled_filters.preprocess import Preprocessor, SpecialTokens
from distilled_filters.scorers.base import EXPERT, Answer, Reading, Source, Tables
from distilled_filters.scorers.head import ZeroInflatedHead, read_tensors
from distilled_filters.spec import DecoderSpec, LoraCheckpoint, Preprocessing

try:
    from distilled_filters.scorers.decoder import Decoder, open_adapter, release_adapter
    from distilled_filters.scorers.placement import place
except ModuleNotFoundError as missing:
    raise DistilledFiltersError(
        f"LoRA checkpoints need {missing.name}; install it with: pip install 'distilled-filters[lora]'"
    ) from missing

__all__ = ["ADAPTER_KEY", "LoraScorer", "open_checkpoint", "read_head", "reader"]

# The metadata entry by which a head names the adapter it was trained with.
ADAPTER_KEY = "adapter_sha256"


class LoraScorer:
    """An opened expert; those on one language model share its weights."""

    def __init__(
        self, decoder: Decoder, adapter: str, preprocessor: Preprocessor, head: ZeroInflatedHead, tables: Tables
    ) -> None:
        """Keep the parts; `adapter` is the name under which the decoder knows the adapter."""
        self.decoder = decoder
        self.adapter = adapter
        self.preprocessor = preprocessor
        self.head = head
        self.tables = tables
        self._read_by = (preprocessor.settings, decoder.spec.digest, "window")

    def __call__(self, reading: Reading) -> Answer:
        """Answer one article.

        Raises:
            RecordError: when it cannot be read, or the runtime fails on it.
        """
        window = reading.once(self._read_by, lambda: self.preprocessor(reading.article))
        (embedding,) = self.decoder.answers(self.adapter, [window.ids])
        return Answer(self.head(embedding, 0.0), EXPERT, window.tokens, self.tables)

    def close(self) -> None:
        """Take the adapter off the language model, which leaves memory with its last one."""
        release_adapter(self.decoder, self.adapter)


def open_checkpoint(source: Source, weights: LoraCheckpoint) -> LoraScorer:
    """Open head, tables, adapter and, once a process, the language model.

    Raises:
        HeadNotFoundError: when the head is missing, untrained, or made for another adapter.
        CheckpointError: when another file is missing, damaged, or made for other weights.
        SpecError: when the window is longer than the model reads.
        SettingError: when device or precision cannot be had.
    """
    files = source.files()
    placement = place(source.device, source.precision)
    decoder = open_adapter(
        source.backbone_folder(weights),
        weights.backbone_sha256,
        source.owner,
        placement,
        weights.adapter.sha256,
        files[weights.adapter_config],
        files[weights.adapter],
    )
    try:
        preprocessor = reader(weights.reads(source.spec.preprocessing), decoder.tokenizer, decoder.spec)
        source.check_window(preprocessor, decoder.spec)
        head = read_head(files[weights.head], len(source.spec.dimensions), decoder.dims, weights.adapter.sha256)
        return LoraScorer(decoder, weights.adapter.sha256, preprocessor, head, source.tables(weights, files))
    except BaseException:
        release_adapter(decoder, weights.adapter.sha256)
        raise


def reader(settings: Preprocessing, tokenizer: Tokenizer, model: DecoderSpec) -> Preprocessor:
    """Return what reads articles as a language model does; such a model knows all scripts."""
    return Preprocessor(settings, tokenizer, SpecialTokens(model.start, model.end, None))


def read_head(path: Path, dimensions: int, dims: int, adapter_sha256: str) -> ZeroInflatedHead:
    """Read the head of an adapter.

    Raises:
        HeadNotFoundError: when tensors are missing, extra or misshapen, when nothing was
            learnt, or when it was trained with another adapter (AC18).
    """
    expected = {"weight": ((1 + dimensions, dims), "float32"), "bias": ((1 + dimensions,), "float32")}
    tensors = read_tensors(path, expected)
    with safe_open(path, framework="np") as file:
        made_for = (file.metadata() or {}).get(ADAPTER_KEY)
    if made_for != adapter_sha256:
        raise HeadNotFoundError(
            f"{path}: made for the adapter {str(made_for)[:12]}, but the spec names {adapter_sha256[:12]}; "
            "export adapter and head from one run"
        )
    if not tensors["weight"].any(axis=1).all():
        raise HeadNotFoundError(f"{path}: a row of its weight is all zeros, as before training")
    none = np.zeros(0, dtype=np.float16)
    return ZeroInflatedHead(**tensors, lexical=none, blend=np.array([0, 1, 0], dtype=np.float32))
