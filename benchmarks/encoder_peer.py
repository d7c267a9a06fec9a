"""A peer: the same encoder in sentence-transformers on torch, with a linear head for every filter."""

from __future__ import annotations

from typing import Any

import torch
from plan import Settings, Text
from sentence_transformers import SentenceTransformer

try:
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
except ImportError:  # before 6.0
    from sentence_transformers.models import Pooling, Transformer

__all__ = ["SentenceTransformers"]

_BATCH = 32
# One filter's: the scope and six dimensions.
_OUTPUTS = 7


class SentenceTransformers:
    """Mean-pooled embeddings of one fp32 encoder, then the heads; their values are random, which costs the same."""

    def __init__(self, settings: Settings) -> None:
        """Load the encoder with all cores to itself."""
        torch.set_num_threads(settings["threads"])
        encoder = Transformer(settings["encoder"], max_seq_length=settings["max_tokens"])
        dims: int = encoder.auto_model.config.hidden_size
        self._model = SentenceTransformer(modules=[encoder, Pooling(dims, "mean")], device="cpu")
        self._heads = [torch.nn.Linear(dims, _OUTPUTS) for _ in range(settings["filters"])]

    def one(self, text: Text) -> None:
        """Score one article by all heads."""
        self._score([text], 1)

    def many(self, texts: list[Text]) -> None:
        """Score many articles in batches, which `encode` sorts by length."""
        self._score(texts, _BATCH)

    def read(self, text: Text) -> int:
        """Return how many tokens the encoder reads."""
        ids = self._model.tokenizer(_joined(text), truncation=True)["input_ids"]
        return len(ids)

    def _score(self, texts: list[Text], batch: int) -> list[Any]:
        with torch.inference_mode():
            embeddings = self._model.encode(
                [_joined(text) for text in texts], batch_size=batch, convert_to_tensor=True, show_progress_bar=False
            )
            return [head(embeddings).tolist() for head in self._heads]


def _joined(text: Text) -> str:
    return f"query: {text['title']}\n{text['content']}"
