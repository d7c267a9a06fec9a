"""How many threads one backbone may use (AC12)."""

from __future__ import annotations

import os
from pathlib import Path

from distilled_filters.errors import SettingError

__all__ = ["THREADS_VARIABLE", "thread_count"]

THREADS_VARIABLE = "DISTILLED_FILTERS_THREADS"
_CGROUP = Path("/sys/fs/cgroup")


def thread_count(requested: int | None = None) -> int:
    """Return the argument, else the environment variable, else what this process may really use.

    Raises:
        SettingError: when the argument or the variable is not a positive whole number.
    """
    if requested is not None:
        return _positive(requested, "threads")
    variable = os.environ.get(THREADS_VARIABLE)
    if variable:
        return _positive(variable, THREADS_VARIABLE)
    quota = _cgroup_quota()
    cores = _affinity()
    return cores if quota is None else max(1, min(cores, int(quota)))


def _positive(value: int | str, source: str) -> int:
    try:
        count = int(value)
    except (ValueError, OverflowError):
        count = 0
    if count < 1 or (isinstance(value, float) and value != count):
        raise SettingError(f"{source} must be a whole number of 1 or more, not {value!r}")
    return count


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_quota() -> float | None:
    """Return the CPU quota in cores of cgroup v2 or v1, None where there is none."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota_us = int((_CGROUP / "cpu/cpu.cfs_quota_us").read_text())
        period_us = int((_CGROUP / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota_us / period_us if quota_us > 0 else None
