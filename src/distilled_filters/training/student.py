"""Students: a model that reads, one zero-inflated linear head a lens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel

from distilled_filters.spec import LensSpec
from distilled_filters.training.losses import RANKING, REGRESSION
from distilled_filters.training.merging import MergingEncoder, merged_mask

__all__ = ["SCALE", "HeadedStudent", "Student", "head_rows"]

# Targets are trained on 0-1; the heads' files hold the oracle's 0-10.
SCALE = 10.0


def head_rows(lenses: Sequence[LensSpec]) -> dict[str, slice]:
    """Return which rows of the joint head belong to a lens: its scope logit, then its dimensions."""
    rows, start = {}, 0
    for lens in lenses:
        rows[lens.name] = slice(start, start + 1 + len(lens.dimensions))
        start = rows[lens.name].stop
    return rows


class HeadedStudent(nn.Module):
    """A language model and one linear layer for all heads.

    For every lens the head gives P(in scope) and the dimension scores of an article in
    scope; the score is their product. A kind of student says how it embeds an article.

    Args:
        encoder: The model whose states the head reads.
        lenses: What to make heads for.
        regression: The loss on dimensions and averages, a name in `REGRESSION`.
        ranking: The weight of each ranking loss beside it, by its name in `RANKING`.
    """

    def __init__(
        self, encoder: nn.Module, lenses: Sequence[LensSpec], regression: str, ranking: Mapping[str, float] | None
    ) -> None:
        """Make a head that answers zero."""
        super().__init__()
        self._distance = REGRESSION[regression]
        self._ranking = {RANKING[name]: weight for name, weight in (ranking or {}).items()}
        self.encoder: Any = encoder
        self.rows = head_rows(lenses)
        self.weights = {lens.name: torch.tensor([d.weight for d in lens.dimensions]) for lens in lenses}
        width = self.encoder.config.hidden_size
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.head = nn.Linear(width, max(rows.stop for rows in self.rows.values()))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @torch.no_grad()
    def start_from(self, embeddings: Tensor, labels: Tensor) -> None:
        """Standardise the head's input and start its bias at the labels' means.

        With a head that first has to find the base rates, the shortest way down the loss
        is to make all embeddings alike; fine-tuning does not recover from that.

        Args:
            embeddings: The base encoder's, (n, dims).
            labels: As in `forward`, (m, rows), not necessarily of the same articles.
        """
        self.center.copy_(embeddings.mean(dim=0))
        self.spread.copy_(embeddings.std(dim=0))
        for rows in self.rows.values():
            scope = labels[:, rows.start]
            share = scope.mean().clamp(1e-3, 1 - 1e-3)
            inside = labels[:, rows.start + 1 : rows.stop].sum(dim=0) / scope.sum().clamp(min=1e-6)
            self.head.bias[rows.start] = torch.logit(share)
            self.head.bias[rows.start + 1 : rows.stop] = inside / SCALE

    @torch.no_grad()
    def plain_head(self, lens: str) -> tuple[Tensor, Tensor]:
        """Return one lens's weight and bias for unstandardised embeddings, dimensions on 0-10."""
        rows = self.rows[lens]
        weight = self.head.weight[rows] / self.spread
        bias = self.head.bias[rows] - weight @ self.center
        weight[1:] *= SCALE
        bias[1:] *= SCALE
        return weight, bias

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return embeddings, (batch, dims)."""
        raise NotImplementedError

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Return `logits` (batch, rows) and, with labels of the same shape, `loss`.

        Labels hold, in the head's order, the scope share and the expected dimensions, 0-10;
        rows of NaN have none and no part in the loss.
        """
        standard = (self.embed(input_ids, attention_mask) - self.center) / self.spread
        logits = self.head(standard).float()
        if labels is None:
            return {"logits": logits}
        labelled = ~labels[:, 0].isnan()
        if not labelled.any():
            return {"loss": logits.sum() * 0, "logits": logits}
        return {"loss": self._loss(logits[labelled], labels[labelled], standard[labelled]), "logits": logits}

    def _loss(self, logits: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
        scope_loss = average_loss = ranking_loss = logits.new_zeros(())
        dimension_losses = []
        for name, rows in self.rows.items():
            scope_logit, scores = logits[:, rows][:, 0], logits[:, rows][:, 1:]
            scope, expected = labels[:, rows][:, 0], labels[:, rows][:, 1:] / SCALE
            weights = self.weights[name].to(scores)
            scope_loss = scope_loss + functional.binary_cross_entropy_with_logits(scope_logit, scope)
            inside = scope > 0
            dimension_losses.append(self._distance(scores[inside], expected[inside] / scope[inside, None]).mean(dim=1))
            predicted, average = torch.sigmoid(scope_logit) * (scores.clamp(0, 1) @ weights), expected @ weights
            average_loss = average_loss + self._distance(predicted, average).mean()
            for loss, weight in self._ranking.items():
                ranking_loss = ranking_loss + weight * loss(predicted, average, embeddings)
        dimension_loss = torch.cat(dimension_losses)
        lenses = len(self.rows)
        return (
            scope_loss / lenses
            + 3 * (dimension_loss.mean() if len(dimension_loss) else dimension_loss.sum())
            + 3 * average_loss / lenses
            + ranking_loss / lenses
        )


class Student(HeadedStudent):
    """The encoder student: a transformer encoder, and mean pooling over tokens.

    Word embeddings stay frozen: seven languages share them, and a few thousand articles
    touch only some.

    Args:
        base: The base encoder, a Hub id or a folder.
        lenses: What to make heads for.
        layers: How many of the encoder's first layers to keep; None for all.
        merge_after: After which layers neighbouring tokens are merged in pairs.
        token_dropout: The share of tokens that are left out in training, other ones in every step.
        regression: As for `HeadedStudent`.
        ranking: As for `HeadedStudent`.
    """

    def __init__(
        self,
        base: str | Path,
        lenses: Sequence[LensSpec],
        layers: int | None = None,
        merge_after: Sequence[int] = (),
        *,
        token_dropout: float = 0.0,
        regression: str = "huber",
        ranking: Mapping[str, float] | None = None,
    ) -> None:
        """Load the encoder and make a head that answers zero."""
        # Dropout of attention weights would keep torch from its fused attention: half the speed on a CPU.
        options: dict[str, float] = {"attention_probs_dropout_prob": 0.0}
        if layers is not None:
            options["num_hidden_layers"] = layers
        kind = MergingEncoder if merge_after else AutoModel
        encoder = kind.from_pretrained(base, add_pooling_layer=False, dtype=torch.float32, **options)
        # The exported graph is written from the config, too.
        encoder.config.merge_after = tuple(merge_after)
        encoder.embeddings.word_embeddings.requires_grad_(False)
        super().__init__(encoder, lenses, regression, ranking)
        self._token_dropout = token_dropout

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return mean-pooled embeddings, (batch, dims)."""
        if self.training and self._token_dropout:
            # One draw for the whole batch: what stands before the padding stays before it.
            kept = torch.rand(input_ids.shape[1]) >= self._token_dropout
            kept[0] = True
            input_ids, attention_mask = input_ids[:, kept], attention_mask[:, kept]
        hidden: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        for _ in self.encoder.config.merge_after:
            attention_mask = merged_mask(attention_mask)
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1)
