"""Time the shipped encoder in ONNX Runtime and in OpenVINO: `pip install openvino && python benchmarks/runtimes.py`.

Figures are processor time on one thread, the least of many calls.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnxruntime
import openvino
from rich.console import Console
from rich.table import Table

__all__ = ["main"]

_MODEL = Path(__file__).parents[1] / "filters" / "backbones" / "me5_small" / "v1" / "model.onnx"
_CALLS = 40


def main() -> None:
    """Print a table: tokens, and what each runtime takes for them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(_MODEL, options, providers=["CPUExecutionProvider"])
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    compiled = core.compile_model(core.read_model(_MODEL), "CPU", settings)
    table = Table("tokens", "ONNX Runtime, ms", "OpenVINO, ms", "share", "largest difference in the embedding")
    for tokens in (32, 128, 256):
        ids = np.arange(5, 5 + tokens, dtype=np.int64)[None]
        ours, theirs = session.run(None, {"input_ids": ids})[0], compiled([ids])[0]
        first, second = _least(session.run, None, {"input_ids": ids}), _least(compiled, [ids])
        difference = float(np.abs(np.asarray(ours) - theirs).max())
        table.add_row(str(tokens), f"{first:.2f}", f"{second:.2f}", f"{second / first:.2f}", f"{difference:.3f}")
    Console().print(table)


def _least(call: Callable[..., Any], *arguments: Any) -> float:
    """Return the least processor time of a call in milliseconds."""
    times = []
    for _ in range(_CALLS):
        started = process_time()
        call(*arguments)
        times.append(process_time() - started)
    return 1000 * min(times)


if __name__ == "__main__":
    main()
