"""A peer: a classifier of the Gemma-3-1B shape with random weights, as one filter of many would be."""

from __future__ import annotations

from pathlib import Path

import torch
from plan import Settings, Text
from transformers import Gemma3TextConfig, Gemma3TextForSequenceClassification

__all__ = ["Decoder", "config", "save"]

_OUTPUTS = 6
# config.json of google/gemma-3-1b-pt.
_SHAPE = {
    "vocab_size": 262_144,
    "hidden_size": 1152,
    "num_hidden_layers": 26,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "intermediate_size": 6912,
    "sliding_window": 512,
}


class Decoder:
    """The loaded classifier; token ids are drawn at random, as many as the encoder would read."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Load the weights that `save` left; fp32 on disk, so they are mapped and not converted."""
        torch.set_num_threads(settings["threads"])
        self._model = Gemma3TextForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

    def one(self, text: Text) -> None:
        """Score one article."""
        self.many([text])

    def many(self, texts: list[Text]) -> None:
        """Score articles of one length as one batch."""
        ids = torch.randint(3, _SHAPE["vocab_size"], (len(texts), texts[0]["tokens"]))
        with torch.inference_mode():
            self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.tolist()

    def read(self, text: Text) -> int:
        """Return how many tokens the decoder reads."""
        return text["tokens"]


def save(folder: Path) -> None:
    """Write random weights (4 GB), so that loading them can be timed."""
    Gemma3TextForSequenceClassification(config()).save_pretrained(folder)


def config() -> Gemma3TextConfig:
    """Return the shape of a classifier."""
    return Gemma3TextConfig(**_SHAPE, num_labels=_OUTPUTS, use_cache=False)
