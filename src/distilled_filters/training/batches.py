"""What a student is fed: windows and labels as tensors, batches of them, and the order they are drawn in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from distilled_filters.preprocess import Window
from distilled_filters.spec import LensSpec
from distilled_filters.training.data import Example

__all__ = ["NeedleSampler", "Rows", "collate", "label_rows"]


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Windows with their labels (n, rows) and, beside them, a teacher's answers of the same shape.

    Rows without labels hold NaN.
    """

    def __init__(self, windows: Sequence[Window], labels: Tensor, teacher: Tensor | None = None) -> None:
        """Keep what is given; windows become tensors when they are asked for."""
        self.windows = windows
        self.labels = labels
        self._teacher = teacher

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = {"input_ids": torch.from_numpy(self.windows[index].ids), "labels": self.labels[index]}
        return row if self._teacher is None else {**row, "teacher": self._teacher[index]}


def label_rows(examples: Sequence[Example], lenses: Sequence[LensSpec]) -> Tensor:
    """Return labels in the order of the joint head, (n, rows): scope share, expected dimensions 0-10, lens by lens."""
    rows = [
        np.concatenate([np.append(np.float32(label.scope), label.dimensions) for label in labels])
        for labels in ([example.labels[lens.name] for lens in lenses] for example in examples)
    ]
    return torch.from_numpy(np.array(rows, dtype=np.float32))


def collate(rows: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Pad windows to the longest, (batch, tokens), and stack what else the rows have."""
    ids = [row["input_ids"] for row in rows]
    others = {name: torch.stack([row[name] for row in rows]) for name in rows[0] if name != "input_ids"}
    mask = pad_sequence([torch.ones_like(each) for each in ids], batch_first=True)
    return {"input_ids": pad_sequence(ids, batch_first=True, padding_value=1), "attention_mask": mask, **others}


class NeedleSampler(torch.utils.data.Sampler[int]):
    """Draws as many rows an epoch as there are, with replacement, by their weights.

    An epoch's order depends on the seed and its number alone, so that a run that goes on
    in the middle of one draws what it would have drawn.
    """

    def __init__(self, weights: Sequence[float], seed: int) -> None:
        """Begin with epoch 0."""
        self._weights = torch.tensor(weights, dtype=torch.float64)
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw another order; accelerate calls this at the start of every epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._weights)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        return iter(torch.multinomial(self._weights, len(self), replacement=True, generator=generator).tolist())
