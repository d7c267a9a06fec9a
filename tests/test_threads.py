"""AC12: argument, then environment variable, then what this process may really use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from distilled_filters import threads
from distilled_filters.errors import SettingError
from distilled_filters.filter import Filter, load
from distilled_filters.panel import Panel
from distilled_filters.scorers.onnx import Backbone
from distilled_filters.threads import THREADS_VARIABLE, thread_count
from tests.conftest import House


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cgroup folder, 16 processors to run on, and no environment variable."""
    folder = tmp_path / "cgroup"
    folder.mkdir()
    monkeypatch.setattr(threads, "_CGROUP", folder)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 99)
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    return folder


def quota_v1(folder: Path, quota: str, period: str = "100000") -> None:
    (folder / "cpu").mkdir()
    (folder / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (folder / "cpu" / "cpu.cfs_period_us").write_text(period + "\n")


def test_ac12_the_argument_wins_over_the_variable_over_the_quota(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert thread_count() == 16
    (cgroup / "cpu.max").write_text("300000 100000\n")
    assert thread_count() == 3
    monkeypatch.setenv(THREADS_VARIABLE, "5")
    assert thread_count() == 5
    assert thread_count(2) == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("200000 100000\n", 2),
        ("250000 100000\n", 2),
        ("50000 100000\n", 1),
        ("99900000 100000\n", 16),
        ("max 100000\n", 16),
        ("", 16),
        ("rubbish\n", 16),
    ],
)
def test_ac12_cgroup_v2(cgroup: Path, content: str, expected: int) -> None:
    (cgroup / "cpu.max").write_text(content)
    assert thread_count() == expected


@pytest.mark.parametrize(
    ("quota", "expected"), [("400000", 4), ("150000", 1), ("20000", 1), ("-1", 16), ("0", 16), ("rubbish", 16)]
)
def test_ac12_cgroup_v1(cgroup: Path, quota: str, expected: int) -> None:
    quota_v1(cgroup, quota)
    assert thread_count() == expected


def test_ac12_cgroup_v2_comes_before_v1(cgroup: Path) -> None:
    quota_v1(cgroup, "400000")
    (cgroup / "cpu.max").write_text("200000 100000\n")
    assert thread_count() == 2


def test_ac12_affinity_bounds_the_quota(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cgroup / "cpu.max").write_text("800000 100000\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3})
    assert thread_count() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert thread_count() == 8
    (cgroup / "cpu.max").unlink()
    assert thread_count() == 99


@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_ac12_a_bad_argument_is_refused_with_its_value(value: int) -> None:
    with pytest.raises(SettingError, match=f"threads must be a whole number of 1 or more, not {value}"):
        thread_count(value)


@pytest.mark.parametrize("value", ["0", "-2", "two", "1.5"])
def test_ac12_a_bad_variable_is_refused_by_name_and_value(
    cgroup: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, value)
    with pytest.raises(SettingError, match=f"{THREADS_VARIABLE} must be .* not '{value}'"):
        thread_count()


def test_ac12_an_empty_variable_is_none(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "")
    assert thread_count() == 16


def test_ac12_filters_and_panels_heed_it(cgroup: Path, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = house.add()
    assert Filter(folder, threads=3).threads == load("uplifting", threads=3).threads == 3
    monkeypatch.setenv(THREADS_VARIABLE, "6")
    assert Filter(folder).threads == Panel(["uplifting"]).threads == 6
    assert Filter(folder, threads=2).threads == 2
    with pytest.raises(SettingError, match="threads"):
        Filter(folder, threads=0)


def test_ac12_a_session_has_one_thread_that_does_not_spin(backbone: Backbone) -> None:
    options = backbone._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert backbone._session.get_providers() == ["CPUExecutionProvider"]
