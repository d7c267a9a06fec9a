"""The hardware's limit: how fast this machine multiplies int8 matrices when it does nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

__all__ = ["int8_peak"]

# Large enough to keep the units busy, small enough for a core's own cache.
_ROWS, _INNER, _COLUMNS = 256, 1536, 384
_CALLS, _ROUNDS = 40, 7


def int8_peak(threads: int) -> float:
    """Return multiply-adds a second of `threads` threads, each with int8 products of its own, the best of rounds."""
    draw = np.random.default_rng(0)
    weight = draw.integers(-127, 128, (_INNER, _COLUMNS)).astype(np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "weight"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [_ROWS, _INNER])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [_ROWS, _COLUMNS])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(model, options) for _ in range(threads)]
    feed = {"x": draw.integers(0, 256, (_ROWS, _INNER)).astype(np.uint8)}

    def run(session: onnxruntime.InferenceSession) -> None:
        for _ in range(_CALLS):
            session.run(None, feed)

    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_ROUNDS):
            started = perf_counter()
            list(pool.map(run, sessions))
            best = max(best, threads * _CALLS * _ROWS * _INNER * _COLUMNS / (perf_counter() - started))
    return best
