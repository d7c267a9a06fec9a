"""Forks wait until no thread is inside the runtime (AC11).

A child has only the thread that forked; a lock of the runtime's memory arena that another
thread held at that moment would stay locked in the child for good.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType

__all__ = ["fork_gate"]


class _ForkGate:
    """A context for calls into the runtime: many may be inside at once, but not during a fork."""

    def __init__(self) -> None:
        self._start_afresh()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._wait_for_calls, after_in_parent=self._go_on, after_in_child=self._start_afresh
            )

    def __enter__(self) -> None:
        with self._idle:
            # New calls wait behind a fork, or a busy process could never fork.
            while self._forking:
                self._idle.wait()
            self._calls += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._idle:
            self._calls -= 1
            if not self._calls:
                self._idle.notify_all()

    def _wait_for_calls(self) -> None:
        self.opening.acquire()
        self._idle.acquire()
        self._forking = True
        while self._calls:
            self._idle.wait()

    def _go_on(self) -> None:
        self._forking = False
        self._idle.notify_all()
        self._idle.release()
        self.opening.release()

    def _start_afresh(self) -> None:
        self.opening = threading.Lock()
        """Held while a backbone is opened, so that it is opened once and no fork sees half of it."""
        self._idle = threading.Condition(threading.Lock())
        self._calls = 0
        self._forking = False


fork_gate = _ForkGate()
