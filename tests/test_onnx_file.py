"""A model whose weights lie elsewhere is refused before a runtime opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from distilled_filters.errors import CheckpointError
from distilled_filters.onnx_file import refuse_external_data
from tests.conftest import FILTERS

onnx: Any = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
Tensor: TypeAlias = Any


def weights() -> Tensor:
    return numpy_helper.from_array(np.arange(6, dtype=np.float32), "weights")


def elsewhere(location: str = "../../etc/passwd") -> Tensor:
    tensor = weights()
    onnx.external_data_helper.set_external_data(tensor, location=location)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    return tensor


def graph(tensor: Tensor) -> Tensor:
    node = helper.make_node("Identity", ["weights"], ["out"])
    out = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [6])
    return helper.make_graph([node], "g", [], [out], [tensor])


def constant(tensor: Tensor) -> Tensor:
    return helper.make_node("Constant", [], ["out"], value=tensor)


def model_of(place: str, tensor: Tensor) -> Tensor:
    """Put a tensor where ONNX lets one be."""
    model = helper.make_model(graph(weights()))
    if place == "initializer":
        model = helper.make_model(graph(tensor))
    elif place == "attribute":
        model.graph.node.append(constant(tensor))
    elif place == "branch":
        model.graph.node.append(
            helper.make_node("If", ["c"], ["o"], then_branch=graph(tensor), else_branch=graph(weights()))
        )
    elif place == "function":
        model.functions.append(helper.make_function("d", "f", [], ["out"], [constant(tensor)], []))
    elif place == "sparse":
        indices = numpy_helper.from_array(np.arange(6, dtype=np.int64), "i")
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [6]))
    elif place == "training":
        model.training_info.add().algorithm.CopyFrom(graph(tensor))
    return model


PLACES = ("initializer", "attribute", "branch", "function", "sparse", "training")


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_another_file_are_refused_wherever_they_are_named(place: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(place, elsewhere()).SerializeToString())
    with pytest.raises(CheckpointError, match=r"tiny==1\.0\.0: .*model\.onnx keeps weights in another file"):
        refuse_external_data(path, "tiny==1.0.0")


@pytest.mark.parametrize("place", PLACES)
def test_weights_inside_pass(place: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(place, weights()).SerializeToString())
    refuse_external_data(path, "tiny==1.0.0")


def test_the_shipped_backbones_pass() -> None:
    for path in FILTERS.glob("backbones/*/*/model.onnx"):
        refuse_external_data(path, "shipped")


@pytest.mark.parametrize(
    "content", [b"no protobuf at all", b"\x3a\xff\xff\xff\x7f", b"\xff" * 40, b"\x80\x05\x95pickle"]
)
def test_what_is_no_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not an ONNX file"):
        refuse_external_data(path, "tiny==1.0.0")
