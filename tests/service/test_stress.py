"""AC10 and AC13 under service load: a short run always, the long one by `pytest -m stress`."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distilled_filters.filter import Filter
from distilled_filters.integrations.http import Service
from tests.conftest import mixed_articles
from tests.service.conftest import serving

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc here")


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def load(clients: int, uplifting: Filter, *stages: int) -> list[int]:
    """Let clients send mixed articles one by one, so many a stage; return the service's memory after each."""
    articles = mixed_articles(40, longest=100, seed=5)
    expected = [score.to_dict() for score in uplifting.score_batch(articles)]
    memory = []
    with serving("-f", "uplifting") as process, Service(process.url) as service:
        remote = service.load("uplifting")

        def client(count: int, start: int) -> None:
            for step in range(count):
                place = (7 * start + step) % len(articles)
                assert remote.score(articles[place]).to_dict() == expected[place]

        for stage in stages:
            with ThreadPoolExecutor(clients) as pool:
                list(pool.map(client, [stage // clients] * clients, range(clients)))
            memory.append(resident(process.popen.pid))
    return memory


@needs_proc
@pytest.mark.slow
def test_ac13_a_services_memory_settles_over_two_hundred_articles(uplifting: Filter) -> None:
    early, late = load(10, uplifting, 80, 120)
    assert late <= 1.10 * early


@needs_proc
@pytest.mark.stress
@pytest.mark.timeout(0)
def test_ac10_ac13_fifty_clients_get_the_serial_scores_in_bounded_memory(uplifting: Filter) -> None:
    # Some ten minutes on two idle cores.
    early, late = load(50, uplifting, 1_000, 50_000)
    assert late <= 1.05 * early
