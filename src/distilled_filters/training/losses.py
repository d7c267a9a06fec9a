"""What a student is trained on: the zero-inflated objective, and ranking losses beside it.

Targets and predictions are on 0-1, a tenth of the oracle's scale. All losses are means,
so that their weights mean the same at every batch size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["RANKING", "REGRESSION", "listmle", "margin_ranking", "triplet"]

# Pairs whose labels are nearer than this are as good as tied: the oracle's own noise.
_LEAST_GAP = 0.1
_MARGIN = 0.1


def _huber(predicted: Tensor, target: Tensor) -> Tensor:
    return functional.smooth_l1_loss(predicted, target, reduction="none", beta=0.1)


def _mse(predicted: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(predicted, target, reduction="none")


def margin_ranking(predicted: Tensor, target: Tensor, embeddings: Tensor) -> Tensor:
    """Hinge on every pair of a batch that the oracle puts apart (RankNet's pairs, Burges et al., 2005)."""
    above = target.unsqueeze(1) - target.unsqueeze(0) > _LEAST_GAP
    if not above.any():
        return predicted.sum() * 0
    higher, lower = above.nonzero(as_tuple=True)
    order = torch.ones_like(predicted[higher])
    return functional.margin_ranking_loss(predicted[higher], predicted[lower], order, margin=_MARGIN)


def listmle(predicted: Tensor, target: Tensor, embeddings: Tensor) -> Tensor:
    """Negative log-likelihood of the oracle's order under Plackett-Luce (ListMLE: Xia et al., 2008).

    Only the articles above zero count as choices: the order of the zeros among each
    other means nothing.
    """
    positive = int((target > 0).sum())
    if positive == 0:
        return predicted.sum() * 0
    # A temperature brings 0-1 scores to the spread of logits.
    ordered = predicted[torch.argsort(target, descending=True)] / _MARGIN
    remaining = torch.logcumsumexp(ordered.flip(0), dim=0).flip(0)
    return (remaining - ordered)[:positive].mean()


def triplet(predicted: Tensor, target: Tensor, embeddings: Tensor) -> Tensor:
    """Batch-hard triplets on embeddings: in scope together, out of scope apart (Hermans et al., 2017)."""
    inside = target > 0
    if inside.sum() < 2 or inside.all():
        return predicted.sum() * 0
    distances = torch.cdist(embeddings, embeddings)
    furthest = distances[inside][:, inside].max(dim=1).values
    nearest = distances[inside][:, ~inside].min(dim=1).values
    return functional.relu(furthest - nearest + 1.0).mean()


REGRESSION: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"huber": _huber, "mse": _mse}
RANKING: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "margin": margin_ranking,
    "listmle": listmle,
    "triplet": triplet,
}
