"""Merging tokens: what torch trains is what the exported file computes, alone or in a batch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from distilled_filters.errors import SettingError  # noqa: E402
from distilled_filters.training.data import read_lenses  # noqa: E402
from distilled_filters.training.export import export  # noqa: E402
from distilled_filters.training.graph import OPERATORS, write_graph  # noqa: E402
from distilled_filters.training.merging import merge_pairs, merged_mask  # noqa: E402
from distilled_filters.training.recipe import make_recipe  # noqa: E402
from distilled_filters.training.student import Student  # noqa: E402
from distilled_filters.training.train import Recipe, train  # noqa: E402
from distilled_filters.training.weights import finished_student  # noqa: E402
from tests.training.conftest import Workshop, words_of_data  # noqa: E402
from tests.training.encoders import write_base  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

LENGTHS = (9, 8, 5, 2, 1)


@pytest.fixture(scope="module")
def merging(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Student:
    """A student of three layers that merges after the first two; not to be changed."""
    base = tmp_path_factory.mktemp("merging") / "base"
    write_base(base, words_of_data(), layers=3)
    student = Student(base, read_lenses(workshop.filters), merge_after=(1, 2))
    student.eval()
    return student


def ids_of(length: int) -> Any:
    return torch.arange(3, 3 + length)[None]


def alone(student: Student, length: int) -> Any:
    with torch.no_grad():
        return student.embed(ids_of(length), torch.ones(1, length, dtype=torch.long))[0]


def test_neighbours_are_averaged_and_the_last_may_stand_alone() -> None:
    hidden = torch.tensor([[[1.0], [3.0], [5.0]], [[1.0], [9.0], [9.0]]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    merged = merge_pairs(hidden, mask)
    assert merged_mask(mask).tolist() == [[1, 1], [1, 0]]
    assert merged[0, :, 0].tolist() == [2.0, 5.0]
    assert merged[1, 0, 0] == 1.0


@pytest.mark.parametrize("length", LENGTHS)
def test_padding_changes_nothing(merging: Student, length: int) -> None:
    ids = torch.ones(2, max(LENGTHS), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate((length, max(LENGTHS))):
        ids[row, :tokens], mask[row, :tokens] = ids_of(tokens)[0], 1
    with torch.no_grad():
        torch.testing.assert_close(merging.embed(ids, mask)[0], alone(merging, length), rtol=1e-5, atol=1e-5)


def test_later_layers_read_ever_fewer_tokens(merging: Student) -> None:
    seen = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
        for layer in merging.encoder.encoder.layer
    ]
    alone(merging, 9)
    for hook in hooks:
        hook.remove()
    assert seen == [9, 5, 3]


def test_the_file_agrees_with_torch(merging: Student, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    path = tmp_path / "model.onnx"
    write_graph(merging.encoder, path, "fp32")
    assert {(node.domain, node.op_type) for node in onnx.load(path).graph.node} <= OPERATORS
    session = onnxruntime.InferenceSession(str(path))
    for length in LENGTHS:
        (found,) = session.run(None, {"input_ids": ids_of(length).numpy()})
        np.testing.assert_allclose(found[0], alone(merging, length).numpy(), atol=1e-5)


@pytest.mark.slow
def test_a_merging_student_goes_on_from_another_and_is_exported(workshop: Workshop, tmp_path: Path) -> None:
    recipe = make_recipe({
        "start": str(workshop.run), "merge_after": [1], "epochs": 1, "bf16": False, "evaluate_every": 9,
        "encoder_learning_rate": 1e-3,
    })  # fmt: skip
    run = train(recipe, workshop.data, workshop.filters, tmp_path / "run")
    assert finished_student(run, read_lenses(workshop.filters)).encoder.config.merge_after == (1,)
    assert make_recipe({"start": str(run)}).merge_after == (1,)
    # Parity on the validation split would refuse an export that forgot to merge.
    filters = shutil.copytree(workshop.filters, tmp_path / "filters")
    export([run], filters, "merging/v1", licence="MIT", data=workshop.data)


def test_layers_are_named_once_and_in_order() -> None:
    assert Recipe(base="base", merge_after=(3, 1, 3)).merge_after == (1, 3)


def test_a_layer_must_come_after(workshop: Workshop, tmp_path: Path) -> None:
    recipe = Recipe(base=str(workshop.base), merge_after=(2,))
    with pytest.raises(SettingError, match=r"--merge-after 2: tokens are merged after layer 1 to 1 of 2"):
        train(recipe, workshop.data, workshop.filters, tmp_path)
