"""Padding, labels, and how often needles are drawn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from distilled_filters.preprocess import Window  # noqa: E402
from distilled_filters.result import TokenUse  # noqa: E402
from distilled_filters.training.batches import NeedleSampler, Rows, collate  # noqa: E402


def _window(*ids: int) -> Window:
    return Window(
        np.array(ids, dtype=np.int64), TokenUse(total=len(ids), read=len(ids), truncated=False), np.zeros(0, np.int32)
    )


def test_batches_are_padded_and_masked() -> None:
    labels, teacher = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    rows = Rows([_window(0, 7, 2), _window(0, 2)], labels, teacher)
    batch = collate([rows[0], rows[1]])
    assert batch["input_ids"].tolist() == [[0, 7, 2], [0, 2, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert torch.equal(batch["labels"], labels)
    assert torch.equal(batch["teacher"], teacher)


def test_needles_are_drawn_at_the_stated_rate() -> None:
    needles = 200
    sampler = NeedleSampler([4.0] * needles + [1.0] * 1800, seed=1)
    drawn: Counter[bool] = Counter()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        indices = list(sampler)
        assert len(indices) == len(sampler) == 2000
        drawn.update(index < needles for index in indices)
    # 200 x 4 of 200 x 4 + 1800 draws; six standard deviations of 40,000 draws are 0.014.
    assert drawn[True] / drawn.total() == pytest.approx(800 / 2600, abs=0.014)


def test_an_epochs_order_depends_on_seed_and_epoch_alone() -> None:
    first, second = NeedleSampler([1.0, 2.0] * 50, seed=1), NeedleSampler([1.0, 2.0] * 50, seed=1)
    orders = []
    for epoch in range(3):
        first.set_epoch(epoch)
        orders.append(list(first))
    second.set_epoch(2)
    assert list(second) == orders[2]
    assert orders[0] != orders[1] != orders[2]
