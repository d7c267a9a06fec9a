"""`distillery serve` as a process: how it starts, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
import uvicorn

from distilled_filters.service.server import serve
from distilled_filters.service.settings import Settings
from tests.conftest import SNIPPET
from tests.service.conftest import serving


@pytest.mark.slow
def test_sigterm_finishes_what_is_in_flight_and_takes_nothing_new() -> None:
    with serving("-f", "uplifting") as process:
        answers: list[httpx.Response] = []

        def ask() -> None:
            # Distinct articles of many words: some seconds of work on any machine.
            articles = [f"{number} {SNIPPET * 40}" for number in range(40)]
            answers.append(httpx.post(f"{process.url}/v1/score", json={"articles": articles}, timeout=60))

        client = threading.Thread(target=ask)
        client.start()
        while httpx.get(f"{process.url}/health").json()["waiting"] < 10:
            time.sleep(0.01)
        process.popen.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{process.url}/health")
        client.join()
        assert [len(each.json()["results"]) for each in answers] == [40]
        _, said = process.popen.communicate(timeout=30)
        assert (process.popen.returncode, said.strip()) == (0, "stopped")


@pytest.mark.slow
def test_a_killed_server_leaves_its_feedback_whole(tmp_path: Path) -> None:
    with serving("-f", "uplifting", "--feedback", str(tmp_path)) as process:
        body = {"filter": "uplifting", "id": "1", "tier": "low"}
        kept = [httpx.post(f"{process.url}/v1/feedback", json=body).text for _ in range(5)]
        os.kill(process.popen.pid, signal.SIGKILL)
        process.popen.wait(10)
    (file,) = tmp_path.glob("*.jsonl")
    assert file.read_text(encoding="utf-8").splitlines() == kept


def test_no_answer_waits_for_an_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    inherited: list[int] = []

    def run(_: uvicorn.Server, sockets: list[socket.socket]) -> None:
        (listener,) = sockets
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as connection:
            inherited.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    serve(["uplifting"], Settings(), host="127.0.0.1", port=0, threads=1, say=lambda _: None)
    assert inherited
    assert all(inherited)
