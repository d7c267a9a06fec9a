"""From a language model's body to one ONNX file: token ids in, the last token's state out.

Unlike the encoder's, this graph is torch's own: language models come in many architectures,
and an export is refused where it does not answer as torch does. int8 means weights in small
blocks with a scale each: ONNX Runtime's MatMulNBits, and look-ups of word embeddings likewise.
Every token's activations have scales of their own, so outliers of one spoil no other.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import onnxscript  # noqa: F401  (torch's exporter needs it, and would miss it only after minutes)
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from distilled_filters.errors import SettingError

__all__ = ["MergedPrecision", "check_size", "write_decoder"]

MergedPrecision: TypeAlias = Literal["int8", "fp32"]

_OPSET = 21
# Weights that share a scale. Blocks of 32 save little and move scores further; word embeddings bear them.
_BLOCK, _TABLE_BLOCK = 16, 32
# Activations are rounded to int8 for the product, by token: half the time of fp32.
_INT8_PRODUCTS = 4
# An ONNX file with its weights inside is one protobuf message; bytes a parameter takes, with its share of scales.
_LARGEST = 2**31
_BYTES = {"int8": 1.25, "fp32": 4.0}


class _LastState(nn.Module):
    """A language model's body that answers with the state of the last token."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        states: Tensor = self.model(input_ids=input_ids, use_cache=False).last_hidden_state
        return states[:, -1]


def check_size(model: nn.Module, precision: MergedPrecision) -> None:
    """Refuse, before any work, a model whose weights do not go into one file.

    Raises:
        SettingError: with what it would take and what can be had.
    """
    size = sum(each.numel() for each in model.parameters()) * _BYTES[precision]
    if size > _LARGEST:
        raise SettingError(
            f"in {precision} this model takes about {size / 1e9:.1f} GB, and an ONNX file with its weights inside "
            f"at most {_LARGEST / 1e9:.1f}; "
            + ("export with --precision int8" if precision == "fp32" else "export without --merge")
        )


def write_decoder(model: nn.Module, path: Path, precision: MergedPrecision) -> None:
    """Write a language model as ONNX.

    Args:
        model: Its body in fp32, in evaluation mode, without an adapter.
        path: The file to write.
        precision: Of the weights.
    """
    longest = int(model.config.max_position_embeddings)
    example = torch.arange(16).remainder(model.config.vocab_size)[None]
    tokens = torch.export.Dim("tokens", min=2, max=longest)
    with _quiet(), torch.no_grad():
        program: Any = torch.onnx.export(
            _LastState(model).eval(), (example,), dynamo=True, opset_version=_OPSET, verbose=False,
            input_names=["input_ids"], output_names=["last_state"], dynamic_shapes={"input_ids": {1: tokens}},
        )  # fmt: skip
        document = program.model_proto
        del program
        _forget_origin(document)
        if precision == "int8":
            document = _rounded(document)
    onnx.save(document, path)


def _forget_origin(document: onnx.ModelProto) -> None:
    """Leave out where in whose files every node came from: the same model gives the same bytes anywhere."""
    graph = document.graph
    for part in (document, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        del part.metadata_props[:]
        part.doc_string = ""


def _rounded(document: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    _round_embeddings(document.graph)
    settings = DefaultWeightOnlyQuantConfig(
        block_size=_BLOCK, is_symmetric=True, accuracy_level=_INT8_PRODUCTS, bits=8, op_types_to_quantize=("MatMul",)
    )
    quantizer = MatMulNBitsQuantizer(document, algo_config=settings)
    quantizer.process()
    rounded: onnx.ModelProto = quantizer.model.model
    return rounded


def _round_embeddings(graph: onnx.GraphProto) -> None:
    """Keep tables that tokens are looked up in as int8 in blocks with a scale each; other look-ups are left alone."""
    tables = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2}
    nodes = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in tables or "input_ids" not in node.input:
            nodes.append(node)
            continue
        table, (output,) = tables[node.input[0]], node.output
        values = numpy_helper.to_array(table)
        width = values.shape[1]
        values = values.reshape(len(values), -1, _TABLE_BLOCK if width % _TABLE_BLOCK == 0 else width)
        scale = np.maximum(np.abs(values).max(axis=2, keepdims=True), 1e-12).astype(np.float32) / 127
        graph.initializer.remove(table)
        graph.initializer.append(numpy_helper.from_array(np.round(values / scale).astype(np.int8), f"{output}.table"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{output}.scale"))
        graph.initializer.append(numpy_helper.from_array(np.array([0, 0, width], dtype=np.int64), f"{output}.shape"))
        nodes += [
            helper.make_node("Gather", [f"{output}.table", "input_ids"], [f"{output}.int8"], f"{output}.int8"),
            helper.make_node("Cast", [f"{output}.int8"], [f"{output}.cast"], f"{output}.cast", to=TensorProto.FLOAT),
            helper.make_node("Gather", [f"{output}.scale", "input_ids"], [f"{output}.by"], f"{output}.by"),
            helper.make_node("Mul", [f"{output}.cast", f"{output}.by"], [f"{output}.blocks"], f"{output}.blocks"),
            helper.make_node("Reshape", [f"{output}.blocks", f"{output}.shape"], [output], output),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep away what exporter and quantiser say of every node, and of each other's old names."""
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in _TALKERS]
    levels, root_level, handlers = [each.level for each in loggers], root.level, list(root.handlers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for each in loggers:
                each.setLevel(logging.CRITICAL)
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
        # The quantiser sets up logging for the whole process when it is imported.
        root.setLevel(root_level)
        root.handlers[:] = handlers


_TALKERS = ("torch.onnx", "onnxscript", "onnx_ir", "onnxruntime.quantization.matmul_nbits_quantizer")
