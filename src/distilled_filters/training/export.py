"""From a trained student to the shared backbone file.

The graph is written node by node with ONNX Runtime's fused operators, because
exporters and graph optimisers lose the attention fusion from one release to the next.
Matrix products become int8 with activations quantised at run time; the word
embeddings, frozen in training, keep four bits in blocks of 32, the grid on which the
base model lies.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import BertModel

__all__ = ["export_fp32", "export_int8"]

_OPSET = 21  # the first with four-bit tensors
_BLOCK = 32
_CONTRIB = "com.microsoft"

FloatArray = npt.NDArray[np.float32]


class _Graph:
    """Nodes and weights of one ONNX graph in the making."""

    def __init__(self, encoder: BertModel) -> None:
        self._state: dict[str, FloatArray] = {
            name: tensor.detach().cpu().float().numpy() for name, tensor in encoder.state_dict().items()
        }
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def state(self, name: str) -> FloatArray:
        return self._state[name]

    def weight(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        contrib = operator in {"Attention", "BiasGelu", "SkipLayerNormalization", "GatherBlockQuantized"}
        domain = _CONTRIB if contrib else ""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def linear(self, hidden: str, module: str, output: str) -> tuple[str, str]:
        """Add the product with a torch linear layer's weight; return the product and the bias still to add."""
        weight = self.weight(f"{output}.weight", self.state(f"{module}.weight").T)
        return self.node("MatMul", [hidden, weight], output), self.weight(
            f"{output}.bias", self.state(f"{module}.bias")
        )

    def norm(self, module: str, output: str) -> list[str]:
        return [self.weight(f"{output}.{part}", self.state(f"{module}.{part}")) for part in ("weight", "bias")]


def export_fp32(encoder: BertModel, path: Path) -> None:
    """Write the backbone in fp32: `input_ids` (1, tokens) to `embedding` (1, dims)."""
    onnx.save(_build(encoder, packed_embeddings=False), path)


def export_int8(encoder: BertModel, path: Path) -> None:
    """Write the backbone as it ships: int8 matrix products and four-bit word embeddings."""
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser advises a shape inference that this graph does not need
    model = _build(encoder, packed_embeddings=True)
    quantize_dynamic(
        model, path, op_types_to_quantize=["MatMul", "Attention"], per_channel=True, weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
    )  # fmt: skip


def _build(encoder: BertModel, *, packed_embeddings: bool) -> onnx.ModelProto:
    config = encoder.config
    graph = _Graph(encoder)
    epsilon = config.layer_norm_eps
    words = _packed_words(graph) if packed_embeddings else _plain_words(graph)
    positions = (
        graph.state("embeddings.position_embeddings.weight") + graph.state("embeddings.token_type_embeddings.weight")[0]
    )
    length = graph.node("Shape", ["input_ids"], "length", start=1, end=2)
    start = graph.weight("zero", np.array([0], np.int64))
    placed = graph.node("Slice", [graph.weight("positions", positions), start, length], "placed")
    summed = graph.node("Add", [words, placed], "embeddings")
    hidden = graph.node(
        "LayerNormalization", [summed, *graph.norm("embeddings.LayerNorm", "embeddings.norm")], "layer_0",
        axis=-1, epsilon=epsilon,
    )  # fmt: skip
    for index in range(config.num_hidden_layers):
        hidden = _layer(graph, hidden, index, config.num_attention_heads, epsilon)
    graph.node("ReduceMean", [hidden, graph.weight("tokens_axis", np.array([1], np.int64))], "embedding", keepdims=0)
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


def _layer(graph: _Graph, hidden: str, index: int, heads: int, epsilon: float) -> str:
    """Add one post-norm transformer layer: attention, then a GELU feed-forward block."""
    source, name = f"encoder.layer.{index}", f"layer_{index + 1}"
    parts = [f"{source}.attention.self.{part}" for part in ("query", "key", "value")]
    projection = graph.weight(
        f"{name}.qkv", np.concatenate([graph.state(f"{part}.weight").T for part in parts], axis=1)
    )
    projection_bias = graph.weight(f"{name}.qkv.bias", np.concatenate([graph.state(f"{part}.bias") for part in parts]))
    attention = graph.node("Attention", [hidden, projection, projection_bias], f"{name}.attention", num_heads=heads)
    mixed, mixed_bias = graph.linear(attention, f"{source}.attention.output.dense", f"{name}.mixed")
    norm = graph.norm(f"{source}.attention.output.LayerNorm", f"{name}.attention.norm")
    attended = graph.node(
        "SkipLayerNormalization", [mixed, hidden, *norm, mixed_bias], f"{name}.attended", epsilon=epsilon
    )
    wide, wide_bias = graph.linear(attended, f"{source}.intermediate.dense", f"{name}.wide")
    active = graph.node("BiasGelu", [wide, wide_bias], f"{name}.active")
    narrow, narrow_bias = graph.linear(active, f"{source}.output.dense", f"{name}.narrow")
    norm = graph.norm(f"{source}.output.LayerNorm", f"{name}.output.norm")
    return graph.node("SkipLayerNormalization", [narrow, attended, *norm, narrow_bias], name, epsilon=epsilon)


def _plain_words(graph: _Graph) -> str:
    table = graph.weight("words", graph.state("embeddings.word_embeddings.weight"))
    return graph.node("Gather", [table, "input_ids"], "word_embeddings")


def _packed_words(graph: _Graph) -> str:
    """Store the word embeddings as signed nibbles with one scale a block (llama.cpp's Q4_0)."""
    table = graph.state("embeddings.word_embeddings.weight")
    blocks = table.reshape(len(table), -1, _BLOCK)
    extremes = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2, keepdims=True), axis=2)[..., 0]
    scales = np.where(extremes == 0, 1.0, extremes / -8.0).astype(np.float32)
    codes = (
        (np.clip(np.rint(blocks / scales[..., None]), -8, 7).astype(np.int8) & 0xF)
        .astype(np.uint8)
        .reshape(table.shape)
    )
    nibbles = codes[:, 0::2] | (codes[:, 1::2] << 4)
    graph.weights.append(helper.make_tensor("words", TensorProto.INT4, table.shape, nibbles.tobytes(), raw=True))
    return graph.node(
        "GatherBlockQuantized", ["words", "input_ids", graph.weight("words.scales", scales)], "word_embeddings",
        gather_axis=0, quantize_axis=1, block_size=_BLOCK,
    )  # fmt: skip
