"""Encoders that fit in a test: a base to train from, and what a backbone's tests compare by torch and by file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distilled_filters.preprocess import Window
from distilled_filters.result import TokenUse

PIECES = 96
LOUD = 37
"""The unit that answers many times as strongly as the others, as trained encoders have one."""

Embeddings = npt.NDArray[np.float32]


def write_base(folder: Path, words: Iterable[str], *, split: Any = None, layers: int = 2) -> None:
    """Write a random base encoder and a tokenizer that knows these words, parted by `split` (a space by default)."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel

    pieces = dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", "query", ":", "[...]", ".", *words])
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split or pre_tokenizers.Split(" ", "removed")
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=64, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=256,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)


def loud_encoder() -> Any:
    """Make a tiny encoder with the outlier unit `LOUD` in both its layers."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=PIECES, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=64, initializer_range=0.1, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    encoder = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for layer in encoder.encoder.layer:
            layer.intermediate.dense.weight[LOUD] *= 60
            layer.output.dense.weight[:, LOUD] /= 60
    return encoder


def random_windows(count: int, seed: int = 0) -> list[Window]:
    """Make windows of 5 to 64 random pieces."""
    random = np.random.default_rng(seed)
    return [
        Window(
            random.integers(4, PIECES, length),
            TokenUse(total=length, read=length, truncated=False),
            np.zeros(0, np.int32),
        )
        for length in random.integers(5, 65, count).tolist()
    ]


def by_torch(encoder: Any, windows: list[Window]) -> Embeddings:
    import torch

    with torch.no_grad():
        rows = [
            encoder(input_ids=torch.from_numpy(each.ids)[None]).last_hidden_state[0].mean(dim=0) for each in windows
        ]
    embeddings: Embeddings = torch.stack(rows).numpy()
    return embeddings


def by_file(path: Path, windows: list[Window]) -> Embeddings:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    return np.stack([session.run(None, {"input_ids": each.ids[None]})[0][0] for each in windows])
