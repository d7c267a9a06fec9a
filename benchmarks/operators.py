"""Time the operators an encoder could be written with: `python benchmarks/operators.py [--tokens 256]`.

`distillery export` writes the quickest of each (`training/graph.py`). Figures are processor time on one
thread, the least of many calls.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from time import process_time

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

__all__ = ["main"]

_DIMS, _WIDE, _HEADS = 384, 1536, 12
_CONTRIB = "com.microsoft"
_CALLS = 60
# Articles packed into one call, where they are short.
_PACKED, _SHORT = 8, 32

Arrays = dict[str, npt.NDArray[np.generic]]


def main() -> None:
    """Print a table: each part, its ways, and what each costs beside the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=256)
    tokens = parser.parse_args().tokens
    draw = np.random.default_rng(0)

    def floats(*shape: int) -> npt.NDArray[np.float32]:
        return draw.standard_normal(shape).astype(np.float32)

    hidden: Arrays = {"x": floats(1, tokens, _DIMS)}
    wide: Arrays = {"x": floats(1, tokens, _WIDE)}
    norm: Arrays = {"skip": floats(1, tokens, _DIMS), "gain": floats(_DIMS), "shift": floats(_DIMS)}
    joint: Arrays = {
        "weight": draw.integers(-60, 60, (_DIMS, 3 * _DIMS)).astype(np.int8),
        "scale": np.full(3 * _DIMS, 0.01, np.float32),
        "bias": floats(3 * _DIMS),
    }
    inner: Arrays = {
        "fp32": floats(_DIMS, _WIDE),
        "weight": draw.integers(-60, 60, (_DIMS, _WIDE)).astype(np.int8),
        "scale": np.full(_WIDE, 0.01, np.float32),
        "bias": floats(_WIDE),
        "in_scale": np.array(0.03, np.float32),
        "in_zero": np.array(128, np.uint8),
        "out_scale": np.array(0.05, np.float32),
        "weight_zero": np.zeros(_WIDE, np.int8),
    }
    product = _node("DynamicQuantizeMatMul", ["x", "weight", "scale", "", "bias"], ["y"], _CONTRIB)
    parts: dict[str, tuple[Arrays, Arrays, dict[str, list[onnx.NodeProto]]]] = {
        "skip and norm": (hidden, norm, {
            "SkipLayerNormalization": [
                _node("SkipLayerNormalization", ["x", "skip", "gain", "shift"], ["y"], _CONTRIB),
            ],
            "Add, LayerNormalization": [
                _node("Add", ["x", "skip"], ["s"]),
                _node("LayerNormalization", ["s", "gain", "shift"], ["y"]),
            ],
        }),
        "attention, int8": (hidden, joint, {
            "QAttention": [
                _node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
                _node("QAttention", ["q", "weight", "bias", "s", "scale", "", "z"], ["y"], _CONTRIB, num_heads=_HEADS),
            ],
            "DynamicQuantizeMatMul, MultiHeadAttention": [
                _node("DynamicQuantizeMatMul", ["x", "weight", "scale", "", "bias"], ["j"], _CONTRIB),
                _node("Split", ["j"], ["q", "k", "v"], axis=-1, num_outputs=3),
                _node("MultiHeadAttention", ["q", "k", "v"], ["y"], _CONTRIB, num_heads=_HEADS),
            ],
        }),
        "bias and GELU": (wide, {"bias": floats(_WIDE)}, {
            "BiasGelu": [_node("BiasGelu", ["x", "bias"], ["y"], _CONTRIB)],
            "Add, Gelu": [_node("Add", ["x", "bias"], ["s"]), _node("Gelu", ["s"], ["y"])],
            "Gelu, the bias in the product before it": [_node("Gelu", ["x"], ["y"])],
        }),
        "product": (hidden, inner, {
            "MatMul, fp32": [_node("MatMul", ["x", "fp32"], ["s"]), _node("Add", ["s", "bias"], ["y"])],
            "DynamicQuantizeMatMul": [product],
            "static: QuantizeLinear, QLinearMatMul, DequantizeLinear": [
                _node("QuantizeLinear", ["x", "in_scale", "in_zero"], ["q"]),
                _node(
                    "QLinearMatMul",
                    ["q", "in_scale", "in_zero", "weight", "scale", "weight_zero", "out_scale", "in_zero"],
                    ["p"],
                ),
                _node("DequantizeLinear", ["p", "out_scale", "in_zero"], ["s"]),
                _node("Add", ["s", "bias"], ["y"]),
            ],
        }),
    }  # fmt: skip
    table = Table("part", "operators", "ms", "share", title=f"{tokens} tokens, one layer")
    for part, (feed, constants, ways) in parts.items():
        first = 0.0
        for way, nodes in ways.items():
            milliseconds = _least(nodes, feed, constants)
            first = first or milliseconds
            table.add_row(part, way, f"{milliseconds:.3f}", f"{milliseconds / first:.2f}")
            part = ""
    alone = _PACKED * _least([product], {"x": floats(1, _SHORT, _DIMS)}, inner)
    packed = _least([product], {"x": floats(1, _PACKED * _SHORT, _DIMS)}, inner)
    table.add_row(f"product, {_PACKED} articles of {_SHORT} tokens", "a call each", f"{alone:.3f}", "1.00")
    table.add_row("", "packed into one call", f"{packed:.3f}", f"{packed / alone:.2f}")
    Console().print(table)


def _node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **more: object
) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, outputs, domain=domain, **more)


def _least(nodes: Sequence[onnx.NodeProto], feed: Arrays, constants: Arrays) -> float:
    """Return the least processor time of a call in milliseconds."""
    graph = helper.make_graph(
        nodes,
        "part",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in feed.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if _used(name, nodes)],
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid(_CONTRIB, 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False
    # The runtime's own rewriting would fuse what is written apart here.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString(), options
    )
    times = []
    for _ in range(_CALLS):
        started = process_time()
        session.run(None, feed)
        times.append(process_time() - started)
    return 1000 * min(times)


def _used(name: str, nodes: Sequence[onnx.NodeProto]) -> bool:
    return any(name in node.input for node in nodes)


if __name__ == "__main__":
    main()
