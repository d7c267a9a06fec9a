"""Writing the backbone in int8 so that it scores as torch does: what articles tell about rounding.

Two things made int8 move scores, and both are mended where they cost nothing at run time:

- **Outlier units.** Of the units of a feed-forward block one or two answer ten times as
  strongly as all others, and all share the scale of one call. The strongest few are
  computed apart in fp32 and leave the others all eight bits (after LLM.int8(), Dettmers
  et al., 2022, with the outliers fixed beforehand).
- **A shift.** Rounded weights move all embeddings the same way. The mean difference
  over some articles is taken off again (bias correction, Nagel et al., 2019, applied to
  the output).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor
from transformers import BertModel

from distilled_filters.preprocess import Window
from distilled_filters.training.graph import Outliers, WeightRange, write_graph

__all__ = ["find_outliers", "write_int8"]

# More than ever were outliers in one layer, and a multiple of the kernels' width.
_APART = 16


def write_int8(
    encoder: BertModel,
    path: Path,
    windows: Sequence[Window],
    *,
    weight_range: WeightRange = "pairs",
    pieces: npt.NDArray[np.int64] | None = None,
) -> None:
    """Write the backbone in int8, tuned on some articles.

    Args:
        encoder: In evaluation mode.
        path: The file to write.
        windows: A few dozen articles of all languages, with the ids of the whole
            vocabulary; with none, nothing is tuned.
        weight_range: As in `write_graph`.
        pieces: As in `write_graph`.
    """
    outliers: Outliers = {}
    shift = None
    if windows:
        outliers, exact = _observe(encoder, windows)
        write_graph(encoder, path, "int8", weight_range=weight_range, outliers=outliers)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        rounded = [session.run(None, {"input_ids": window.ids[np.newaxis]})[0][0] for window in windows]
        shift = (exact - np.stack(rounded)).mean(axis=0)
    write_graph(encoder, path, "int8", weight_range=weight_range, outliers=outliers, shift=shift, pieces=pieces)


def find_outliers(encoder: BertModel, windows: Sequence[Window]) -> Outliers:
    """Return the units that answer most strongly to some articles, by layer."""
    outliers, _ = _observe(encoder, windows)
    return outliers


def _observe(encoder: BertModel, windows: Sequence[Window]) -> tuple[Outliers, npt.NDArray[np.float32]]:
    """Return the strongest units by layer, and the embeddings (n, dims) as torch computes them."""
    peaks = [torch.zeros(layer.output.dense.in_features) for layer in encoder.encoder.layer]

    def record(peak: Tensor, active: Tensor) -> None:
        torch.maximum(peak, active.abs().amax(dim=(0, 1)), out=peak)

    hooks = [
        layer.output.dense.register_forward_pre_hook(lambda _, inputs, peak=peak: record(peak, inputs[0]))
        for layer, peak in zip(encoder.encoder.layer, peaks, strict=True)
    ]
    try:
        with torch.no_grad():
            hidden = [encoder(input_ids=torch.from_numpy(window.ids)[None]).last_hidden_state[0] for window in windows]
    finally:
        for hook in hooks:
            hook.remove()
    apart = min(_APART, len(peaks[0]) // 4)
    outliers = {layer: sorted(peak.topk(apart).indices.tolist()) for layer, peak in enumerate(peaks)}
    return outliers, torch.stack([each.mean(dim=0) for each in hidden]).numpy()
