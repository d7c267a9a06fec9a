"""Learning from a larger student: its answers, computed once and kept, and the loss of not giving them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from distilled_filters.files import write_bytes
from distilled_filters.preprocess import Window
from distilled_filters.training.batches import collate
from distilled_filters.training.losses import REGRESSION
from distilled_filters.training.student import SCALE, HeadedStudent

__all__ = ["answers", "distillation", "kept_answers"]

# Windows a file of kept answers: what a kill can cost.
_SHARD = 256
_BATCH = 16
# Keeps the score in scope defined where the teacher sees none.
_LEAST_SCOPE = 1e-6


def distillation(logits: Tensor, teacher: Tensor, rows: Mapping[str, slice]) -> Tensor:
    """Return how far a student is from its teacher's answers: 0 where it gives the same ones.

    The parts of the labels' loss, with the teacher's answers for labels: the
    Kullback-Leibler divergence of the scope (soft targets: Hinton et al., 2015), and Huber
    losses on the expected dimensions, P(scope) times score, which are what a filter
    answers, and on the scores in scope, as far as the teacher sees the article in scope.

    Args:
        logits: The student's, (batch, rows).
        teacher: P(scope) and expected dimensions 0-10, in the same order.
        rows: Which rows belong to which lens.
    """
    huber = REGRESSION["huber"]
    total = logits.new_zeros(())
    for lens in rows.values():
        scope_logit, scores = logits[:, lens][:, :1], logits[:, lens][:, 1:]
        scope, expected = teacher[:, lens][:, :1], teacher[:, lens][:, 1:] / SCALE
        entropy = (torch.special.entr(scope) + torch.special.entr(1 - scope)).mean()
        divergence = functional.binary_cross_entropy_with_logits(scope_logit, scope) - entropy
        gated = torch.sigmoid(scope_logit) * scores.clamp(0, 1)
        inside = scope.clamp(min=_LEAST_SCOPE)
        in_scope = (inside * huber(scores, expected / inside)).mean() / inside.mean()
        total = total + divergence + 3 * huber(gated, expected).mean() + 3 * in_scope
    return total / len(rows)


@torch.no_grad()
def answers(student: HeadedStudent, windows: Sequence[Window]) -> Tensor:
    """Return a student's answers, (n, rows): P(scope) and expected dimensions 0-10, lens by lens."""
    device = next(student.parameters()).device
    # Windows of one length share a batch, so that little is padded.
    order = sorted(range(len(windows)), key=lambda index: len(windows[index].ids))
    found = torch.empty(len(windows), student.head.out_features)
    for begin in range(0, len(order), _BATCH):
        batch = order[begin : begin + _BATCH]
        inputs = collate([{"input_ids": torch.from_numpy(windows[index].ids)} for index in batch])
        logits = student(**{name: tensor.to(device) for name, tensor in inputs.items()})["logits"].cpu()
        for lens in student.rows.values():
            scope = torch.sigmoid(logits[:, lens][:, :1])
            expected = scope * (logits[:, lens][:, 1:] * SCALE).clamp(0, SCALE)
            found[batch, lens] = torch.cat([scope, expected], dim=1)
    return found


def kept_answers(teacher: HeadedStudent, windows: Sequence[Window], folder: Path) -> Tensor:
    """Return a teacher's answers as `answers` does, and keep them in a folder, from where a later call reads them.

    The folder belongs to one run, whose record binds it to the teacher's and the data's digests.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    with tqdm(total=len(windows), desc="teacher", unit="article", disable=None) as bar:
        for begin in range(0, len(windows), _SHARD):
            some = windows[begin : begin + _SHARD]
            path = folder / f"{begin:07d}.safetensors"
            if not path.exists():
                write_bytes(path, save({"answers": answers(teacher, some)}))
            parts.append(load_file(path)["answers"])
            bar.update(len(some))
    return torch.cat(parts)
