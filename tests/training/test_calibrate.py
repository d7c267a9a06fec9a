"""Intervals: wide where the student errs, whatever it does on the many articles out of scope."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from distilled_filters.preprocess import Window
from distilled_filters.result import TokenUse
from distilled_filters.training.calibrate import _intervals, _refuse_too_few
from distilled_filters.training.data import DatasetError, Example, Labels


def test_zeros_out_of_scope_do_not_narrow_the_intervals_in_scope() -> None:
    """Few articles in scope once joined the bin of zeros, and a score of 6 got an interval of nothing."""
    predicted = np.array([0.0] * 500 + [5.0] * 20)
    truth = np.array([0.0] * 500 + [3.0] * 10 + [8.0] * 10)
    intervals = _intervals(predicted, truth)
    assert intervals.half_widths[0] == 0.0
    assert intervals.half_widths[-1] == 3.0
    assert len(intervals.half_widths) == len(intervals.edges) + 1


def test_too_few_articles_promise_nothing() -> None:
    intervals = _intervals(np.array([0.0] * 50 + [5.0] * 5), np.array([0.0] * 50 + [5.0] * 5))
    assert intervals.half_widths[-1] == 10.0


def test_calibration_articles_of_one_kind_are_refused_in_words() -> None:
    window = Window(np.zeros(0, np.int64), TokenUse(total=0, read=0, truncated=False), np.zeros(0, np.int32))
    inside, outside = (
        Example("a", "calibration", "natural", "en", "a", "", window, {"x": Labels(scope, np.zeros(1, np.float32))})
        for scope in (1.0, 0.0)
    )
    _refuse_too_few(Path("data"), [inside, outside], [inside])
    for fitting, judging in (([inside], [inside]), ([], [inside]), ([inside, outside], [])):
        with pytest.raises(DatasetError, match="label more articles"):
            _refuse_too_few(Path("data"), fitting, judging)


def test_large_bins_stay_apart() -> None:
    chance = np.random.default_rng(0)
    predicted = np.repeat([0.0, 0.3, 2.5], 100)
    intervals = _intervals(predicted, predicted + np.concatenate([np.zeros(100), chance.uniform(0, 1, 200)]))
    assert len(intervals.half_widths) > 2
