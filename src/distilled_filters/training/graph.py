"""From a trained encoder to the backbone file: one ONNX graph in a chosen precision.

The graph is written node by node, because exporters and graph optimisers lose the attention
fusion from one release to the next, and in the operators that ONNX Runtime is quickest at, which
are not always the fused ones (`benchmarks/operators.py`).

int8 weights must not saturate: x86-64 processors without VNNI multiply unsigned
activations by signed weights with `VPMADDUBSW`, which adds two products in 16 bits, so
that scores would differ between processors. ONNX Runtime's own remedy is `reduce_range`,
weights of seven bits. It is enough that no two weights added there overflow together;
bounding their sum by `PAIR_RANGE` keeps most of the eighth bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from transformers import BertModel, PretrainedConfig

__all__ = ["OPERATORS", "PAIR_RANGE", "Outliers", "Precision", "WeightRange", "export_fp32", "write_graph"]

Precision: TypeAlias = Literal["int8", "fp16", "fp32"]
WeightRange: TypeAlias = Literal["pairs", "full", "reduced"]
Outliers: TypeAlias = Mapping[int, Sequence[int]]
"""Which units of each layer's feed-forward block are computed apart."""

FloatArray = npt.NDArray[np.float32]

_OPSET = 21  # the first with four-bit tensors
_BLOCK = 32
_CONTRIB = "com.microsoft"
_STANDARD_OPERATORS = frozenset({
    "Add", "Cast", "Concat", "Gather", "Gelu", "LayerNormalization", "MatMul", "Mul", "ReduceMean", "Shape", "Slice",
    "Split",
})  # fmt: skip
_CONTRIB_OPERATORS = frozenset({"DynamicQuantizeMatMul", "GatherBlockQuantized", "MultiHeadAttention"})
OPERATORS = frozenset({("", name) for name in _STANDARD_OPERATORS} | {(_CONTRIB, name) for name in _CONTRIB_OPERATORS})
"""Every (domain, operator) that a backbone may use.

ONNX Runtime registers all of these in its CPU provider for every architecture it is
built for (`cpu_execution_provider.cc`, `cpu_contrib_kernels.cc`); what a processor lacks
is chosen around at run time. Operators of one vendor's provider are none of them.
"""

# A pair of weights times the largest activation, 255, must stay within 16 signed bits: 32,767 / 255.
PAIR_RANGE = 128
# How far a four-bit table may be from the one it packs, as a share of its block's largest value: half a step of
# the fp16 in which base encoders are kept.
_LOSSLESS = 2.0**-10

# How the pairs of `merging.merge_pairs` are cut out of (1, tokens, dims).
_SLICES = {"first": 0, "second": 1, "last": -1, "step": 2, "axis": 1, "end": np.iinfo(np.int64).max}


class _Graph:
    """Nodes and weights of one ONNX graph in the making."""

    def __init__(self, encoder: BertModel, precision: Precision, weight_range: WeightRange, outliers: Outliers) -> None:
        self._state: dict[str, FloatArray] = {
            name: tensor.detach().cpu().float().numpy() for name, tensor in encoder.state_dict().items()
        }
        self.precision = precision
        self.weight_range = weight_range
        self.outliers = outliers
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def state(self, name: str) -> FloatArray:
        return self._state[name]

    def replace(self, name: str, value: FloatArray) -> None:
        self._state[name] = value

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(self, name: str, value: FloatArray) -> str:
        """Add an fp32 weight, stored in fp16 where that is the precision.

        The runtime folds the cast away when it opens the file, so that a processor
        needs no fp16 arithmetic.
        """
        if self.precision != "fp16":
            return self.constant(name, value)
        return self.node("Cast", [self.constant(f"{name}.fp16", value.astype(np.float16))], name, to=TensorProto.FLOAT)

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        domain = _CONTRIB if operator in _CONTRIB_OPERATORS else ""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def product(self, hidden: str, weight: FloatArray, bias: FloatArray, output: str) -> str:
        """Add a linear layer with a weight (inputs, outputs) and a bias (outputs,)."""
        if self.precision != "int8":
            return self.exact_product(hidden, weight, bias, output)
        codes, scales = _quantise(weight, self.weight_range)
        inputs = [self.constant(f"{output}.weight", codes), self.constant(f"{output}.weight.scale", scales)]
        return self.node("DynamicQuantizeMatMul", [hidden, *inputs, "", self.constant(f"{output}.bias", bias)], output)

    def exact_product(self, hidden: str, weight: FloatArray, bias: FloatArray, output: str) -> str:
        """Add a linear layer that computes in fp32 whatever the precision."""
        product = self.node("MatMul", [hidden, self.weight(f"{output}.weight", weight)], f"{output}.product")
        return self.node("Add", [product, self.weight(f"{output}.bias", bias)], output)

    def attention(self, hidden: str, weight: FloatArray, bias: FloatArray, output: str, heads: int) -> str:
        """Add self-attention with joint weights (inputs, 3 x inputs) of queries, keys and values."""
        joint = self.product(hidden, weight, bias, f"{output}.joint")
        parts = [f"{output}.{part}" for part in ("query", "key", "value")]
        self.nodes.append(helper.make_node("Split", [joint], parts, name=f"{output}.split", axis=-1, num_outputs=3))
        return self.node("MultiHeadAttention", parts, output, num_heads=heads)

    def norm(self, hidden: str, module: str, output: str, epsilon: float) -> str:
        """Add a layer norm."""
        parts = [self.weight(f"{output}.{part}", self.state(f"{module}.{part}")) for part in ("weight", "bias")]
        return self.node("LayerNormalization", [hidden, *parts], output, axis=-1, epsilon=epsilon)


def export_fp32(encoder: BertModel, path: Path) -> None:
    """Write the backbone as torch computes it: `input_ids` (1, tokens) to `embedding` (1, dims)."""
    write_graph(encoder, path, "fp32")


def write_graph(
    encoder: BertModel,
    path: Path,
    precision: Precision,
    *,
    weight_range: WeightRange = "pairs",
    outliers: Outliers | None = None,
    shift: FloatArray | None = None,
    pieces: npt.NDArray[np.int64] | None = None,
) -> None:
    """Write the backbone: `input_ids` (1, tokens) to `embedding` (1, dims).

    Word embeddings, frozen in training, are packed into four bits in blocks of 32 where
    the base lies on that grid, so that nothing is lost; otherwise they take eight bits
    in int8, and the precision's own in fp16 and fp32.

    Args:
        encoder: A post-norm BERT encoder in evaluation mode.
        path: The file to write.
        precision: int8 multiplies in int8, activations quantised at run time; fp16 keeps
            weights in fp16 and computes in fp32, which every processor can; fp32 is exact.
        weight_range: What int8 weights may hold. "pairs" cannot saturate on any processor;
            "reduced" neither, with seven bits (ONNX Runtime's `reduce_range`); "full" is
            exact only on processors with VNNI or on arm64.
        outliers: Units to keep out of int8; what they are, see `int8`.
        shift: What to add to every embedding, (dims,).
        pieces: Ids of the pieces to keep of the vocabulary, in their new order; None for all.
    """
    graph = _Graph(encoder, precision, weight_range, outliers or {})
    if shift is not None:
        # An embedding is the mean of the last norm's outputs, so its bias shifts it for nothing.
        last = f"encoder.layer.{encoder.config.num_hidden_layers - 1}.output.LayerNorm.bias"
        graph.replace(last, graph.state(last) + shift)
    table = graph.state("embeddings.word_embeddings.weight")
    onnx.save(_build(graph, encoder.config, table if pieces is None else table[pieces]), path)


def _build(graph: _Graph, config: PretrainedConfig, table: FloatArray) -> onnx.ModelProto:
    epsilon = config.layer_norm_eps
    words = _words(graph, table)
    positions = (
        graph.state("embeddings.position_embeddings.weight") + graph.state("embeddings.token_type_embeddings.weight")[0]
    )
    length = graph.node("Shape", ["input_ids"], "length", start=1, end=2)
    start = graph.constant("zero", np.array([0], np.int64))
    placed = graph.node("Slice", [graph.weight("positions", positions), start, length], "placed")
    summed = graph.node("Add", [words, placed], "embeddings")
    hidden = graph.norm(summed, "embeddings.LayerNorm", "layer_0", epsilon)
    for index in range(config.num_hidden_layers):
        hidden = _layer(graph, hidden, index, config.num_attention_heads, epsilon)
        if index + 1 in getattr(config, "merge_after", ()):
            hidden = _merged(graph, hidden, f"merged_{index + 1}")
    graph.node("ReduceMean", [hidden, graph.constant("tokens_axis", np.array([1], np.int64))], "embedding", keepdims=0)
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "backbone",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, config.hidden_size])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)],
        ir_version=10,
    )


def _merged(graph: _Graph, hidden: str, name: str) -> str:
    """Average neighbouring tokens in pairs; a last one without a neighbour is paired with itself."""
    first, second, last, step, axis, end = (
        graph.constant(f"{name}.{part}", np.array([value], np.int64)) for part, value in _SLICES.items()
    )
    tail = graph.node("Slice", [hidden, last, end, axis], f"{name}.tail")
    longer = graph.node("Concat", [hidden, tail], f"{name}.longer", axis=1)
    left = graph.node("Slice", [hidden, first, end, axis, step], f"{name}.left")
    right = graph.node("Slice", [longer, second, end, axis, step], f"{name}.right")
    half = graph.constant(f"{name}.half", np.array(0.5, np.float32))
    return graph.node("Mul", [graph.node("Add", [left, right], f"{name}.sum"), half], name)


def _layer(graph: _Graph, hidden: str, index: int, heads: int, epsilon: float) -> str:
    """Add one post-norm transformer layer: attention, then a GELU feed-forward block."""
    source, name = f"encoder.layer.{index}", f"layer_{index + 1}"
    parts = [f"{source}.attention.self.{part}" for part in ("query", "key", "value")]
    projection = np.concatenate([graph.state(f"{part}.weight").T for part in parts], axis=1)
    projection_bias = np.concatenate([graph.state(f"{part}.bias") for part in parts])
    attention = graph.attention(hidden, projection, projection_bias, f"{name}.attention", heads)
    mixed = graph.product(attention, *_linear(graph, f"{source}.attention.output.dense"), f"{name}.mixed")
    added = graph.node("Add", [mixed, hidden], f"{name}.added")
    attended = graph.norm(added, f"{source}.attention.output.LayerNorm", f"{name}.attended", epsilon)
    narrow = _feed_forward(graph, attended, source, name, index)
    return graph.norm(graph.node("Add", [narrow, attended], f"{name}.sum"), f"{source}.output.LayerNorm", name, epsilon)


def _feed_forward(graph: _Graph, attended: str, source: str, name: str, index: int) -> str:
    """Add a feed-forward block, its outlier units apart in fp32."""
    wide, wide_bias = _linear(graph, f"{source}.intermediate.dense")
    narrow, narrow_bias = _linear(graph, f"{source}.output.dense")
    apart = list(graph.outliers.get(index, ()))
    together = np.setdiff1d(np.arange(len(narrow)), apart)
    product = graph.product(attended, wide[:, together], wide_bias[together], f"{name}.wide")
    narrowed = graph.product(
        graph.node("Gelu", [product], f"{name}.active"), narrow[together], narrow_bias, f"{name}.narrow"
    )
    if not apart:
        return narrowed
    strong = graph.exact_product(attended, wide[:, apart], wide_bias[apart], f"{name}.strong")
    answers = graph.node("Gelu", [strong], f"{name}.answers")
    added = graph.node("MatMul", [answers, graph.weight(f"{name}.apart.weight", narrow[apart])], f"{name}.apart")
    return graph.node("Add", [narrowed, added], f"{name}.both")


def _linear(graph: _Graph, module: str) -> tuple[FloatArray, FloatArray]:
    """Return a torch linear layer as weight (inputs, outputs) and bias."""
    return graph.state(f"{module}.weight").T, graph.state(f"{module}.bias")


def _quantise(weight: FloatArray, weight_range: WeightRange) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Return int8 codes of a weight (inputs, outputs) and one scale an output, symmetric around zero."""
    largest = np.abs(weight).max(axis=0)
    scales = largest / (63 if weight_range == "reduced" else 127)
    if weight_range == "pairs":
        scales = np.maximum(scales, _pair_sums(weight).max(axis=0) / (PAIR_RANGE - 1))
    scales = np.where(scales == 0, 1.0, scales).astype(np.float32)
    return np.rint(weight / scales).astype(np.int8), scales


def _pair_sums(weight: FloatArray) -> FloatArray:
    """Return what the magnitudes of rows 2i and 2i + 1 add up to: those that `VPMADDUBSW` adds."""
    magnitudes: FloatArray = np.abs(np.concatenate([weight, np.zeros_like(weight[: len(weight) % 2])]))
    return magnitudes[0::2] + magnitudes[1::2]


def _words(graph: _Graph, table: FloatArray) -> str:
    """Look word embeddings up in the smallest table that keeps what the precision keeps."""
    packed = _packed(graph, table)
    if packed is not None or graph.precision == "fp32":
        return packed or graph.node("Gather", [graph.constant("words", table), "input_ids"], "word_embeddings")
    if graph.precision == "fp16":
        rows = graph.node("Gather", [graph.constant("words", table.astype(np.float16)), "input_ids"], "words.rows")
        return graph.node("Cast", [rows], "word_embeddings", to=TensorProto.FLOAT)
    codes, scales = _quantise(table.T, "full")
    rows = graph.node("Gather", [graph.constant("words", codes.T), "input_ids"], "words.rows")
    values = graph.node("Cast", [rows], "words.values", to=TensorProto.FLOAT)
    scale = graph.node("Gather", [graph.constant("words.scales", scales[:, None]), "input_ids"], "words.scale")
    return graph.node("Mul", [values, scale], "word_embeddings")


def _packed(graph: _Graph, table: FloatArray) -> str | None:
    """Look word embeddings up in four bits; None where the table does not lie on that grid."""
    if table.shape[1] % _BLOCK:
        return None
    codes, scales = _four_bits(table)
    error = np.abs(codes * scales[..., None] - table.reshape(codes.shape)).max(axis=2)
    if (error > _LOSSLESS * 8 * np.abs(scales)).any():
        return None
    nibbles = (codes & 0xF).astype(np.uint8).reshape(table.shape)
    packed = (nibbles[:, 0::2] | (nibbles[:, 1::2] << 4)).tobytes()
    graph.weights.append(helper.make_tensor("words", TensorProto.INT4, table.shape, packed, raw=True))
    return graph.node(
        "GatherBlockQuantized", ["words", "input_ids", graph.constant("words.scales", scales)], "word_embeddings",
        gather_axis=0, quantize_axis=1, block_size=_BLOCK,
    )  # fmt: skip


def _four_bits(table: FloatArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Return codes (words, blocks, 32) from -8 to 7 and a scale a block, as in llama.cpp's Q4_0."""
    blocks = table.reshape(len(table), -1, _BLOCK)
    extremes = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2, keepdims=True), axis=2)[..., 0]
    scales = np.where(extremes == 0, 1.0, extremes / -8.0).astype(np.float32)
    return np.clip(np.rint(blocks / scales[..., None]), -8, 7).astype(np.int8), scales
