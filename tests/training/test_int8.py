"""int8 tuned on articles: outlier units stand apart, and embeddings shift no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from distilled_filters.preprocess import Window  # noqa: E402
from distilled_filters.training.graph import write_graph  # noqa: E402
from distilled_filters.training.int8 import find_outliers, write_int8  # noqa: E402
from tests.training.encoders import LOUD, by_file, by_torch, random_windows  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


def test_units_that_answer_too_loudly_are_found(encoder: Any, windows: list[Window]) -> None:
    outliers = find_outliers(encoder, windows)
    assert set(outliers) == {0, 1}
    assert all(LOUD in units and len(units) == 16 for units in outliers.values())


def test_apart_they_cost_the_others_less(encoder: Any, windows: list[Window], tmp_path: Path) -> None:
    exact, errors = by_torch(encoder, windows), {}
    for name, outliers in (("together", None), ("apart", find_outliers(encoder, windows))):
        write_graph(encoder, tmp_path / name, "int8", outliers=outliers)
        errors[name] = float(np.linalg.norm(by_file(tmp_path / name, windows) - exact))
    assert errors["apart"] < errors["together"] / 1.5


def test_the_shift_is_taken_off_other_articles_too(encoder: Any, windows: list[Window], tmp_path: Path) -> None:
    others = random_windows(12, seed=1)
    exact = by_torch(encoder, others)
    write_graph(encoder, tmp_path / "plain", "int8", weight_range="reduced", outliers=find_outliers(encoder, windows))
    write_int8(encoder, tmp_path / "tuned", windows, weight_range="reduced")
    plain, tuned = (by_file(tmp_path / name, others) - exact for name in ("plain", "tuned"))
    assert np.linalg.norm(tuned.mean(axis=0)) < np.linalg.norm(plain.mean(axis=0)) / 1.5
    assert np.linalg.norm(tuned) < np.linalg.norm(plain)


def test_without_articles_nothing_is_tuned(encoder: Any, windows: list[Window], tmp_path: Path) -> None:
    write_int8(encoder, tmp_path / "untuned", [])
    write_graph(encoder, tmp_path / "plain", "int8")
    assert (tmp_path / "untuned").read_bytes() == (tmp_path / "plain").read_bytes()
