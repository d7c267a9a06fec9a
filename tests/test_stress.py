"""Long runs, by hand: `pytest -m stress`. A small sister of the memory test runs always."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distilled_filters.filter import Filter
from distilled_filters.result import Score
from tests.conftest import ROOT, SNIPPET, mixed_articles, run_python
from tests.test_filter import FORKS, same

# Scores articles of ever other lengths, from wires to long reads, and prints after each stage the resident memory in
# bytes, and how many of the stage's articles were longer than the window.
MEMORY = """
import itertools, os, sys
sys.path.insert(0, sys.argv[1])
from tests.conftest import mixed_articles
from distilled_filters import load
longest, threads, *stages = map(int, sys.argv[2:])
each = load("uplifting", threads=threads)
cycle = mixed_articles(10, shortest=1_000, longest=5_000) + mixed_articles(987, longest=longest)
articles = itertools.cycle(cycle)
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
for stage in stages:
    truncated = 0
    for score in each.score_iter(itertools.islice(articles, stage)):
        assert score.status == "ok", score
        truncated += score.tokens.truncated
    print(resident(), truncated)
"""


def memory(longest: int, threads: int, *stages: int, timeout: float) -> list[int]:
    """Return the resident memory in bytes after each stage, all of which read whole and truncated articles."""
    printed = run_python(MEMORY, ROOT, longest, threads, *stages, timeout=timeout).splitlines()
    measured = [tuple(map(int, line.split())) for line in printed]
    for stage, (_, truncated) in zip(stages, measured, strict=True):
        assert 0.05 * stage < truncated < 0.8 * stage
    return [resident for resident, _ in measured]


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc here")


@needs_proc
def test_ac13_memory_settles_over_three_hundred_articles() -> None:
    early, late = memory(200, 2, 100, 200, timeout=120)
    assert late <= 1.10 * early


@needs_proc
@pytest.mark.stress
@pytest.mark.timeout(0)
def test_ac13_memory_after_a_hundred_thousand_articles_is_that_after_a_thousand() -> None:
    # A quarter of an hour on two idle cores.
    early, late = memory(300, 4, 1_000, 99_000, timeout=6 * 3600)
    assert late <= 1.05 * early


@pytest.mark.stress
@pytest.mark.timeout(0)
def test_ac10_sixteen_threads_of_a_thousand_calls_give_the_serial_scores(uplifting: Filter) -> None:
    articles = mixed_articles(100, longest=60, seed=1)
    serial = [uplifting.score(row) for row in articles]

    def call(start: int) -> list[Score]:
        return [uplifting.score(articles[(7 * start + step) % 100]) for step in range(1_000)]

    with ThreadPoolExecutor(16) as pool:
        for start, scores in enumerate(pool.map(call, range(16))):
            for step, score in enumerate(scores):
                assert same(score, serial[(7 * start + step) % 100])


@pytest.mark.stress
@pytest.mark.timeout(0)
def test_ac11_a_thousand_forks_while_other_threads_score() -> None:
    """The runtime's own locks: one fork in forty hung where forks did not wait for runs."""
    for _ in range(10):
        assert run_python(FORKS, 100, timeout=300).strip() == "0 hung, 0 wrong"


WAIT = f"""
import time
from distilled_filters import uplifting
for _ in range(200):
    uplifting.score({SNIPPET!r})
time.sleep(30)
"""


@pytest.mark.stress
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_ac01_no_library_below_python_opens_a_socket_either(tmp_path: Path) -> None:
    """Python's `socket` does not see what a runtime written in C++ looks up; the kernel does."""
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-e", "trace=socket,connect", "-o", str(trace), sys.executable, "-c", WAIT]
    subprocess.run(command, env={**os.environ, "HOME": str(tmp_path)}, check=True, capture_output=True)
    sockets = [line for line in trace.read_text().splitlines() if "socket(" in line or "connect(" in line]
    assert sockets == []
