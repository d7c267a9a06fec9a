"""An encoder whose later layers read half as many tokens: neighbours are averaged in pairs.

A single answer about a whole article needs no state for every token in every layer
(Funnel-Transformer: Dai et al., 2020), and a layer's cost follows its tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import BertModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput

__all__ = ["MergingEncoder", "merge_pairs", "merged_mask"]


class MergingEncoder(BertModel):
    """A BERT encoder that merges tokens after each layer that `config.merge_after` numbers."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> BaseModelOutput:
        """Return states (batch, fewer tokens, dims); `attention_mask` pads on the right."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        hidden = self.embeddings(input_ids=input_ids)
        allowed = self._allowed(hidden, mask)
        for number, layer in enumerate(self.encoder.layer, start=1):
            hidden = layer(hidden, allowed)
            if number in self.config.merge_after:
                hidden, mask = merge_pairs(hidden, mask), merged_mask(mask)
                allowed = self._allowed(hidden, mask)
        return BaseModelOutput(last_hidden_state=hidden)

    def _allowed(self, hidden: Tensor, mask: Tensor) -> Tensor | None:
        """Return which tokens may look at which, as the layers' attention wants it told."""
        return create_bidirectional_mask(config=self.config, inputs_embeds=hidden, attention_mask=mask)


def merge_pairs(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the means of neighbours, (batch, half of the tokens, dims); a token without a neighbour stays itself."""
    first, second = hidden[:, 0::2], hidden[:, 1::2]
    paired = mask[:, 1::2, None].to(hidden.dtype)
    if second.shape[1] < first.shape[1]:
        second, paired = (torch.nn.functional.pad(each, (0, 0, 0, 1)) for each in (second, paired))
    return first + paired * (second - first) / 2


def merged_mask(mask: Tensor) -> Tensor:
    """Return the mask of what `merge_pairs` returns."""
    return mask[:, 0::2]
