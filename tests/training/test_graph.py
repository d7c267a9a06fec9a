"""The backbone file: it computes what torch computes, with operators that every processor has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")


from distilled_filters.preprocess import Window  # noqa: E402
from distilled_filters.result import TokenUse  # noqa: E402
from distilled_filters.training.graph import OPERATORS, PAIR_RANGE, write_graph  # noqa: E402
from tests.training.encoders import LOUD, PIECES, by_file, by_torch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")

APART = {0: [LOUD], 1: [LOUD]}


def error(encoder: Any, windows: list[Window], path: Path, **options: Any) -> float:
    """Return the relative error of the file's embeddings."""
    write_graph(encoder, path, options.pop("precision", "int8"), **options)
    exact = by_torch(encoder, windows)
    return float(np.linalg.norm(by_file(path, windows) - exact) / np.linalg.norm(exact))


def weights(path: Path, kind: int) -> dict[str, npt.NDArray[Any]]:
    return {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer
            if each.data_type == kind}  # fmt: skip


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("fp16", 1e-3), ("int8", 3e-2)])
def test_a_file_agrees_with_torch(
    encoder: Any, windows: list[Window], tmp_path: Path, precision: str, bound: float
) -> None:
    assert error(encoder, windows, tmp_path / "model.onnx", precision=precision, outliers=APART) < bound


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_file_uses_only_operators_that_every_processor_has(encoder: Any, tmp_path: Path, precision: Any) -> None:
    for name, outliers in (("plain", None), ("apart", APART)):
        write_graph(encoder, tmp_path / name, precision, outliers=outliers)
        assert {(node.domain, node.op_type) for node in onnx.load(tmp_path / name).graph.node} <= OPERATORS


def test_int8_weights_cannot_saturate_a_pair_of_products(encoder: Any, tmp_path: Path) -> None:
    largest = {}
    for weight_range in ("pairs", "reduced", "full"):
        write_graph(encoder, tmp_path / "model.onnx", "int8", weight_range=weight_range)
        products = [
            each for name, each in weights(tmp_path / "model.onnx", onnx.TensorProto.INT8).items() if name != "words"
        ]
        assert len(products) == 2 * 4
        magnitudes = [np.abs(each.astype(np.int32)) for each in products]
        largest[weight_range] = max(int((each[0::2] + each[1::2]).max()) for each in magnitudes)
    assert largest["pairs"] <= PAIR_RANGE
    assert largest["reduced"] <= PAIR_RANGE
    # So the bound is one that weights of all eight bits break.
    assert largest["full"] > PAIR_RANGE
    assert np.iinfo(np.int16).max >= 255 * PAIR_RANGE


def test_seven_bits_cost_more_than_safe_pairs(encoder: Any, windows: list[Window], tmp_path: Path) -> None:
    errors = {
        each: error(encoder, windows, tmp_path / f"{each}.onnx", weight_range=each, outliers=APART)
        for each in ("pairs", "reduced")
    }
    assert errors["pairs"] < errors["reduced"]


def test_word_embeddings_take_four_bits_only_where_that_loses_nothing(encoder: Any, tmp_path: Path) -> None:
    write_graph(encoder, tmp_path / "off.onnx", "int8")
    assert weights(tmp_path / "off.onnx", onnx.TensorProto.INT8)["words"].shape == (PIECES, 64)
    table = encoder.embeddings.word_embeddings.weight
    before = table.detach().clone()
    random = np.random.default_rng(0)
    codes = random.integers(-8, 8, (PIECES, 64))
    codes[:, ::32] = -8  # every block reaches the end of its grid
    try:
        with torch.no_grad():
            table.copy_(torch.from_numpy(codes * 0.01).float())
        write_graph(encoder, tmp_path / "on.onnx", "fp32")
        words = [Window(np.arange(PIECES)[:64], TokenUse(total=64, read=64, truncated=False), np.zeros(0, np.int32))]
        np.testing.assert_allclose(by_file(tmp_path / "on.onnx", words), by_torch(encoder, words), atol=1e-5)
    finally:
        with torch.no_grad():
            table.copy_(before)
    kinds = {each.name: each.data_type for each in onnx.load(tmp_path / "on.onnx").graph.initializer}
    assert kinds["words"] == onnx.TensorProto.INT4


def test_fp16_halves_the_file(encoder: Any, tmp_path: Path) -> None:
    sizes = {}
    for precision in ("fp16", "fp32"):
        write_graph(encoder, tmp_path / precision, precision)
        sizes[precision] = (tmp_path / precision).stat().st_size
    assert sizes["fp16"] < 0.6 * sizes["fp32"]


def test_a_pruned_file_answers_to_the_new_ids(encoder: Any, windows: list[Window], tmp_path: Path) -> None:
    kept = np.unique(windows[1].ids)
    write_graph(encoder, tmp_path / "model.onnx", "fp32", pieces=kept)
    renumbered = [Window(np.searchsorted(kept, windows[1].ids), windows[1].tokens, windows[1].text)]
    found = by_file(tmp_path / "model.onnx", renumbered)
    np.testing.assert_allclose(found, by_torch(encoder, windows[1:2]), atol=1e-5)
