"""The zero-inflated head: the right tensors or none, and never a number out of NaN."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from distilled_filters.errors import HeadNotFoundError
from distilled_filters.scorers.head import ZeroInflatedHead
from distilled_filters.scorers.lexical import Bag, bag_of
from tests.conftest import Tensors

DIMENSIONS, DIMS, VOCABULARY = 3, 5, 7
SHAPE = {"dimensions": DIMENSIONS, "dims": DIMS, "vocabulary": VOCABULARY}
LOOK = 0.25


def tensors() -> Tensors:
    chance = np.random.default_rng(0)
    return {
        "weight": chance.normal(size=(1 + DIMENSIONS, DIMS)).astype(np.float32),
        "bias": chance.normal(size=1 + DIMENSIONS).astype(np.float32),
        "lexical": chance.normal(size=VOCABULARY).astype(np.float16),
        "blend": np.array([2.0, 1.5, 0.5], dtype=np.float32),
    }


def head(scope: float, *scores: float) -> ZeroInflatedHead:
    """A head that answers alike whatever it reads."""
    bias = np.array([scope, *scores], dtype=np.float32)
    weight, lexical = np.zeros((len(bias), DIMS), dtype=np.float32), np.zeros(VOCABULARY, dtype=np.float16)
    return ZeroInflatedHead(weight, bias, lexical, np.array([1, 1, 0], dtype=np.float32))


EMBEDDING = np.linspace(-1, 1, DIMS, dtype=np.float32)


def test_a_head_reads_its_tensors(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "head.safetensors")
    read = ZeroInflatedHead.read(tmp_path / "head.safetensors", **SHAPE)
    logit, *scores = (tensors()["weight"] @ EMBEDDING + tensors()["bias"]).tolist()
    scope = 1 / (1 + math.exp(-1.5 * (logit + 2 * LOOK - 0.5)))
    assert read(EMBEDDING, LOOK) == pytest.approx([scope * min(10, max(0, score)) for score in scores], rel=1e-5)
    assert read.scope(EMBEDDING, LOOK) == pytest.approx(scope, rel=1e-5)


def test_a_first_look_adds_up_what_the_words_say(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "head.safetensors")
    read = ZeroInflatedHead.read(tmp_path / "head.safetensors", **SHAPE)
    lexical = tensors()["lexical"].astype(float)
    bag = Bag(np.array([1, 4], dtype=np.int32), np.array([0.6, 0.8], dtype=np.float32))
    assert read.first_look(bag) == pytest.approx(0.6 * lexical[1] + 0.8 * lexical[4], rel=1e-6)
    assert read.first_look(bag_of(np.array([], dtype=np.int32))) == 0


def test_a_stronger_first_look_never_lowers_a_score() -> None:
    scores = [head(0, 5)(EMBEDDING, look)[0] for look in (-60, -1, 0, 1, 60)]
    assert scores == sorted(scores)
    assert scores[0] < scores[2] < scores[-1]


CHANGES: dict[str, Callable[[Tensors], Any]] = {
    "no bias": lambda t: t.pop("bias"),
    "no first look": lambda t: t.pop("lexical"),
    "a smaller vocabulary": lambda t: t.update(lexical=t["lexical"][:-1].copy()),
    "no weight": lambda t: t.pop("weight"),
    "an extra tensor": lambda t: t.update(extra=np.zeros(1, dtype=np.float32)),
    "other names": lambda t: t.update({"head.weight": t.pop("weight"), "head.bias": t.pop("bias")}),
    "a dimension too few": lambda t: t.update(weight=t["weight"][:-1].copy(), bias=t["bias"][:-1].copy()),
    "a shorter embedding": lambda t: t.update(weight=t["weight"][:, :-1].copy()),
    "a transposed weight": lambda t: t.update(weight=np.ascontiguousarray(t["weight"].T)),
    "a column for a bias": lambda t: t.update(bias=t["bias"][:, np.newaxis].copy()),
    "a double weight": lambda t: t.update(weight=t["weight"].astype(np.float64)),
    "a half bias": lambda t: t.update(bias=t["bias"].astype(np.float16)),
    "whole numbers": lambda t: t.update(bias=t["bias"].astype(np.int32)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_other_tensors_are_refused_with_what_was_expected(tmp_path: Path, what: str) -> None:
    changed, path = tensors(), tmp_path / "head.safetensors"
    CHANGES[what](changed)
    save_file(changed, path)
    with pytest.raises(HeadNotFoundError) as caught:
        ZeroInflatedHead.read(path, **SHAPE)
    assert str(path) in str(caught.value)
    assert "expected tensors {'weight': ((4, 5), 'float32'), 'bias': ((4,), 'float32')" in str(caught.value)


class Trap:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def test_ac17_a_pickle_under_a_head_s_name_is_not_read(tmp_path: Path) -> None:
    path, mark = tmp_path / "head.safetensors", tmp_path / "mark"
    path.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(HeadNotFoundError, match="not a safetensors file"):
        ZeroInflatedHead.read(path, **SHAPE)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists(), "the trap does not work"


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"{}", b"PK\x03\x04"])
def test_a_file_that_is_no_head_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(content)
    with pytest.raises(HeadNotFoundError):
        ZeroInflatedHead.read(path, **SHAPE)


def test_out_of_scope_is_zero_and_in_scope_is_the_score() -> None:
    assert head(60, 7, 0, 3)(EMBEDDING, LOOK) == pytest.approx([7, 0, 3])
    assert head(-60, 7, 9, 3)(EMBEDDING, LOOK) == pytest.approx([0, 0, 0])
    assert head(-LOOK, 7, 9, 3)(EMBEDDING, LOOK) == pytest.approx([3.5, 4.5, 1.5])


FINITE = st.floats(-1e6, 1e6)


@given(FINITE, st.lists(FINITE, min_size=1, max_size=6))
def test_scores_stay_on_the_scale(scope: float, scores: list[float]) -> None:
    assert all(0 <= score <= 10 for score in head(scope, *scores)(EMBEDDING, LOOK))


@given(FINITE, FINITE)
def test_a_surer_scope_never_lowers_a_score(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert head(low, 5)(EMBEDDING, LOOK)[0] <= head(high, 5)(EMBEDDING, LOOK)[0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["scope", "dimension", "weight", "embedding", "first look", "blend"])
def test_what_is_no_number_stays_none(value: float, place: str) -> None:
    """Clipping turns infinity into 10 or 0, and a comparison turns NaN into a bound; neither may pass as a score."""
    content = tensors()
    places: dict[str, tuple[str, int | tuple[int, int]]] = {
        "scope": ("bias", 0), "dimension": ("bias", 1), "weight": ("weight", (1, 2)), "blend": ("blend", 1)
    }  # fmt: skip
    if place in places:
        tensor, index = places[place]
        content[tensor][index] = value
    embedding = EMBEDDING.copy()
    embedding[2] = value if place == "embedding" else 0.5
    with np.errstate(invalid="ignore"):
        answer = ZeroInflatedHead(**content)(embedding, value if place == "first look" else LOOK)
    assert not all(math.isfinite(score) for score in answer)
