"""A real server on a free loopback port, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from distilled_filters.service.app import create_app
from distilled_filters.service.served import Served
from distilled_filters.service.settings import Settings


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Serve an application from a thread; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def served() -> Served:
    """Two shipped filters, opened."""
    return Served(["uplifting", "belonging"], threads=2)


@pytest.fixture(scope="session")
def url(served: Served) -> Iterator[str]:
    """A service with usual limits, shared by all tests that do not change it."""
    with running(create_app(served, Settings())) as address:
        yield address


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """A plain client of the shared service."""
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


Limited = Callable[[Settings], AbstractContextManager[httpx.Client]]


@pytest.fixture
def limited(served: Served) -> Limited:
    """Open a service with other limits, and a client of it."""

    @contextlib.contextmanager
    def start(settings: Settings) -> Iterator[httpx.Client]:
        with running(create_app(served, settings)) as address, httpx.Client(base_url=address, timeout=30) as client:
            yield client

    return start


@dataclass
class Gate:
    """Keeps scoring from going on until it is opened."""

    opened: threading.Event = field(default_factory=threading.Event)
    inside: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


@pytest.fixture
def gate(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Articles whose content is `wait` take until the gate is opened."""
    gate, score = Gate(), served.score

    def slow(article: object, names: tuple[str, ...]) -> object:
        if isinstance(article, dict) and article.get("content") == "wait":
            gate.inside.release()
            assert gate.opened.wait(20)
        return score(article, names)

    monkeypatch.setattr(served, "score", slow)
    yield gate
    gate.opened.set()


@dataclass
class Process:
    """`distillery serve` as people run it."""

    popen: subprocess.Popen[str]
    url: str
    said: str


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[Process]:
    """Run the command on a free port until the block ends."""
    command = [sys.executable, "-m", "distilled_filters", "serve", "--port", "0", "--threads", "2", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as popen:
        assert popen.stderr is not None
        said = ""
        try:
            while (found := re.search(r"(http://\S+:\d+)", said)) is None:
                line = popen.stderr.readline()
                assert line, said
                said += line
            yield Process(popen, found[1], said)
        finally:
            popen.kill()
