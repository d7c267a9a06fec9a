"""Time encoders of the shipped shape that merge tokens: `python benchmarks/merging.py`.

Each is written by `distillery export`'s own code with random weights, which do not change speed. Figures are
processor time of a call on one thread, the least of many, the ways taken in turn.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import process_time

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table
from transformers import BertConfig, BertModel

from distilled_filters.training.graph import write_graph

__all__ = ["main"]

_TOKENS = (128, 256, 512)
_CALLS = 12
_PIECES = 1000
# Layers, and those after which neighbours are merged.
_WAYS: dict[str, tuple[int, tuple[int, ...]]] = {
    "6 layers": (6, ()),
    "6, merged after 2": (6, (2,)),
    "6, merged after 1": (6, (1,)),
    "6, merged after 1 and 3": (6, (1, 3)),
    "12 layers": (12, ()),
    "12, merged after 2 and 4": (12, (2, 4)),
    "12, merged after 1 and 3": (12, (1, 3)),
}


def main() -> None:
    """Print a table: every way's milliseconds at every length, and its share of six layers without merging."""
    draw = np.random.default_rng(0)
    windows = {tokens: draw.integers(0, _PIECES, (1, tokens)) for tokens in _TOKENS}
    with tempfile.TemporaryDirectory() as folder:
        sessions = {way: _session(Path(folder) / "model.onnx", *shape) for way, shape in _WAYS.items()}
    least = {(way, tokens): float("inf") for way in _WAYS for tokens in _TOKENS}
    for _ in range(_CALLS):
        for way, tokens in least:
            started = process_time()
            sessions[way].run(None, {"input_ids": windows[tokens]})
            least[way, tokens] = min(least[way, tokens], process_time() - started)
    first = next(iter(_WAYS))
    table = Table("encoder, int8", *(f"{tokens} tokens" for tokens in _TOKENS), title="ms, and share of the first")
    for way in _WAYS:
        cells = [(least[way, tokens], least[way, tokens] / least[first, tokens]) for tokens in _TOKENS]
        table.add_row(way, *(f"{1000 * seconds:.1f}  {share:.2f}" for seconds, share in cells))
    Console().print(table)


def _session(path: Path, layers: int, merge_after: tuple[int, ...]) -> onnxruntime.InferenceSession:
    config = BertConfig(
        vocab_size=_PIECES, hidden_size=384, intermediate_size=1536, num_attention_heads=12, num_hidden_layers=layers,
        merge_after=merge_after,
    )  # fmt: skip
    # The strongest units of every block are kept out of int8, as in a shipped encoder.
    outliers = {layer: range(16) for layer in range(layers)}
    write_graph(BertModel(config, add_pooling_layer=False).eval(), path, "int8", outliers=outliers)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(str(path), options)


if __name__ == "__main__":
    main()
