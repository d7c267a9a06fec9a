"""Processes that wait to be asked, a line of JSON a request: no contestant shares memory or threads with another."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Worker", "WorkerError", "run_worker"]


class WorkerError(RuntimeError):
    """A worker ended early; the message is the last thing it said."""


class Worker:
    """One process with one variant."""

    def __init__(self, script: Path, folder: Path, key: str, python: str = sys.executable) -> None:
        """Start it by the interpreter `python`; it runs until `close`."""
        self._log = folder / f"{key}.log"
        self._process = _start(script, folder, key, self._log, python)

    def ask(self, request: Mapping[str, object]) -> Any:
        """Send a request and return the reply, both a line of JSON.

        Raises:
            WorkerError: where the process has ended.
        """
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(_last_words(self._log, self._process.wait()))
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def run_worker(script: Path, folder: Path, key: str, python: str = sys.executable) -> Any:
    """Run a worker that only prepares something, and return what it replied."""
    log = folder / f"{key}.log"
    process = _start(script, folder, key, log, python)
    output, _ = process.communicate()
    if process.returncode:
        raise WorkerError(_last_words(log, process.returncode))
    return json.loads(output) if output else None


def _start(script: Path, folder: Path, key: str, log: Path, python: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONWARNINGS": "ignore",
    }
    with log.open("w") as errors:
        return subprocess.Popen(
            [python, str(script), str(folder), key],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
        )  # fmt: skip


def _last_words(log: Path, code: int) -> str:
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name}, perhaps for want of memory"
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    # Results are published: a file's name tells enough, its folder says where somebody works.
    return re.sub(r"/(?:[^/\s'\"]+/)+", "", lines[-1]) if lines else f"the process ended with {code} and said nothing"
