"""Tables that are applied, and tables that are refused before they can bend a score."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_filters.calibration import Calibration, Percentiles, read_calibration, read_percentiles
from distilled_filters.errors import CheckpointError
from tests.conftest import Document

HEAD, OTHER = "a" * 64, "b" * 64


def calibration_document() -> Document:
    return {
        "head_sha256": HEAD,
        "dimensions": {"a": {"raw": [0.0, 4.0, 8.0], "calibrated": [0.0, 2.0, 10.0]}},
        "intervals": {"coverage": 0.9, "edges": [3.0, 6.0], "half_widths": [1.0, 2.0, 0.5]},
    }


def percentiles_document() -> Document:
    return {"head_sha256": HEAD, "source": "a sample", "averages": [0.0, 0.5, 0.5, 9.0]}


def table() -> Calibration:
    return Calibration.model_validate(calibration_document())


def test_a_table_bends_its_own_dimension_only() -> None:
    assert table().apply(["a", "b"], [2.0, 2.0]) == [1.0, 2.0]
    assert table().apply(["a"], [6.0]) == [6.0]
    assert table().apply(["a"], [9.5]) == [10.0]
    assert table().apply([], []) == []


@given(st.floats(0, 10), st.floats(0, 10))
def test_calibration_never_turns_an_order_around(one: float, other: float) -> None:
    low, high = table().apply(["a", "a"], sorted((one, other)))
    assert 0 <= low <= high <= 10


@pytest.mark.parametrize(
    ("average", "interval"),
    [(0.5, (0.0, 1.5)), (2.9, (1.9, 3.9)), (3.0, (1.0, 5.0)), (6.0, (5.5, 6.5)), (9.8, (9.3, 10.0))],
)
def test_an_interval_comes_from_its_bin_and_stays_on_the_scale(average: float, interval: tuple[float, float]) -> None:
    assert table().interval(average) == pytest.approx(interval)


def test_tables_of_the_right_head_are_read(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(calibration_document()))
    assert read_calibration(path, HEAD) == table()
    path.write_text(json.dumps(percentiles_document()))
    assert read_percentiles(path, HEAD) == Percentiles.model_validate(percentiles_document())


@pytest.mark.parametrize(
    ("read", "document"), [(read_calibration, calibration_document), (read_percentiles, percentiles_document)]
)
def test_ac04_a_table_made_for_another_head_is_refused(
    tmp_path: Path, read: Callable[[Path, str], object], document: Callable[[], Document]
) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(document()))
    with pytest.raises(
        CheckpointError, match=f"made for the head {HEAD[:12]}, but the spec names {OTHER[:12]}"
    ) as caught:
        read(path, OTHER)
    assert str(path) in str(caught.value)
    assert "distillery calibrate" in str(caught.value)


Edit = Callable[[Document], Any]
BROKEN_CALIBRATIONS: dict[str, Edit] = {
    "an unknown key": lambda t: t.update(extra=1),
    "no intervals": lambda t: t.pop("intervals"),
    "one point": lambda t: t["dimensions"].update(a={"raw": [0.0], "calibrated": [0.0]}),
    "lists of two lengths": lambda t: t["dimensions"]["a"]["raw"].pop(),
    "points out of order": lambda t: t["dimensions"]["a"].update(raw=[0.0, 8.0, 4.0]),
    "a map that falls": lambda t: t["dimensions"]["a"].update(calibrated=[0.0, 10.0, 2.0]),
    "NaN in a map": lambda t: t["dimensions"]["a"].update(calibrated=[0.0, math.nan, 10.0]),
    "infinity in a map": lambda t: t["dimensions"]["a"].update(calibrated=[0.0, 2.0, math.inf]),
    "a map off the scale": lambda t: t["dimensions"]["a"].update(calibrated=[0.0, 2.0, 11.0]),
    "a half-width too few": lambda t: t["intervals"]["half_widths"].pop(),
    "edges out of order": lambda t: t["intervals"].update(edges=[6.0, 3.0]),
    "a negative half-width": lambda t: t["intervals"].update(half_widths=[1.0, -2.0, 0.5]),
    "NaN for a half-width": lambda t: t["intervals"].update(half_widths=[1.0, math.nan, 0.5]),
    "a coverage of 1": lambda t: t["intervals"].update(coverage=1.0),
}
BROKEN_PERCENTILES: dict[str, Edit] = {
    "an unknown key": lambda t: t.update(extra=1),
    "one average": lambda t: t.update(averages=[1.0]),
    "averages out of order": lambda t: t["averages"].reverse(),
    "NaN among the averages": lambda t: t.update(averages=[0.0, math.nan, 9.0]),
}


@pytest.mark.parametrize("what", BROKEN_CALIBRATIONS)
def test_a_broken_calibration_is_refused_at_load(tmp_path: Path, what: str) -> None:
    document = calibration_document()
    BROKEN_CALIBRATIONS[what](document)
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=f"{path}: not a calibration table"):
        read_calibration(path, HEAD)


@pytest.mark.parametrize("what", BROKEN_PERCENTILES)
def test_broken_percentiles_are_refused_at_load(tmp_path: Path, what: str) -> None:
    document = percentiles_document()
    BROKEN_PERCENTILES[what](document)
    path = tmp_path / "percentiles.json"
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=f"{path}: not a percentiles table"):
        read_percentiles(path, HEAD)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"\x80\x04N."])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a calibration table"):
        read_calibration(path, HEAD)
