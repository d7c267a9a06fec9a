"""AC11: forks wait for calls into the runtime, and calls for forks."""

from __future__ import annotations

import os
import threading

import pytest

from distilled_filters.scorers.forks import fork_gate
from tests.conftest import run_python

# Forks while another thread is inside the gate for a second at least, and prints who saw what.
FORK = """
import os, threading, time, warnings
from distilled_filters.scorers.forks import fork_gate
warnings.simplefilter("ignore", DeprecationWarning)
inside, left = threading.Event(), threading.Event()

def call():
    with fork_gate:
        inside.set()
        time.sleep(0.5)
        left.set()

threading.Thread(target=call).start()
inside.wait()
child = os.fork()
waited = left.is_set()
with fork_gate, fork_gate.opening:
    pass
if child == 0:
    grandchild = os.fork()
    with fork_gate:
        pass
    os._exit(0 if grandchild == 0 else os.waitpid(grandchild, 0)[1] or not waited)
print(waited, os.waitpid(child, 0)[1])
"""


def test_many_calls_may_be_inside_at_once() -> None:
    together = threading.Barrier(3, timeout=20)

    def call() -> None:
        with fork_gate:
            together.wait()

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not together.broken


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_ac11_a_fork_waits_for_the_calls_inside_and_leaves_the_gate_open() -> None:
    assert run_python(FORK, timeout=30).split() == ["True", "0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_ac11_a_call_that_fails_leaves_the_gate() -> None:
    """Else the next fork would wait for ever."""
    code = (
        "import os\n"
        "from distilled_filters.scorers.forks import fork_gate\n"
        "try:\n"
        "    with fork_gate:\n"
        "        raise RuntimeError\n"
        "except RuntimeError:\n"
        "    print(os.waitpid(os.fork() or os._exit(0), 0)[1])"
    )
    assert run_python(code, timeout=30).strip() == "0"
