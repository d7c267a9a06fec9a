"""What a backbone's tests compare: an encoder's embeddings by torch, and by an exported file."""

from __future__ import annotations

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
