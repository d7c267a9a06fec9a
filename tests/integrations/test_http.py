"""The client against a real service, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from distilled_filters import Article, Score, Status
from distilled_filters.errors import RecordError, UnknownFilterError
from distilled_filters.filter import Filter
from distilled_filters.integrations.http import (
    Service,
    ServiceBusyError,
    ServiceError,
    ServiceRefusedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
)
from distilled_filters.panel import BrokenFilterWarning, Panel
from distilled_filters.service.app import create_app
from distilled_filters.service.served import Served
from distilled_filters.service.settings import Settings
from tests.conftest import SNIPPET, Document, House, flip_byte, run_python
from tests.service.conftest import running

ODD = [None, b"bytes", 3.5, float("nan"), {}, {"content": None}, {"content": float("nan")}, "", "short", ["list"]]


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """A small service, whose limits the client must mind."""
    with running(create_app(Served(["uplifting", "belonging"], threads=2), Settings(max_body=40_000))) as address:
        yield address


@pytest.fixture
def service(url: str) -> Iterator[Service]:
    with Service(url) as service:
        yield service


def same(remote: Score, local: Score) -> bool:
    """Remote scores are the local ones, as `to_dict` rounds them."""
    return remote.to_dict() == local.to_dict()


def test_a_remote_filter_scores_as_the_local_one(service: Service, uplifting: Filter, examples: list[Document]) -> None:
    remote = service.load("uplifting")
    assert (remote.name, remote.version, remote.provenance) == (
        uplifting.name, uplifting.version, uplifting.provenance,
    )  # fmt: skip
    articles = [*examples, SNIPPET, Article("a", SNIPPET, "7"), *ODD, {"title": float("nan"), "content": SNIPPET}]
    for article in articles:
        assert same(remote.score(article), uplifting.score(article)), article
    batch = remote.score_batch(articles)
    assert all(map(same, batch, uplifting.score_batch(articles)))
    assert hash(batch[0])
    assert remote.score_batch([]) == []


def test_a_remote_panel_scores_as_the_local_one(service: Service, examples: list[Document]) -> None:
    local, remote = Panel(["belonging", "uplifting"], threads=1), service.panel()
    for ours, theirs in zip(local.score_batch(examples), remote.score_batch(examples), strict=True):
        assert list(ours) == list(theirs)
        assert all(same(theirs[name], ours[name]) for name in ours)
    assert list(service.panel(["uplifting"]).score(SNIPPET)) == ["uplifting"]


def test_strict_raises_what_the_local_filter_raises(service: Service) -> None:
    remote = service.load("uplifting")
    for article, status in ((None, Status.INVALID), ("short", Status.TOO_SHORT), ("", Status.NO_CONTENT)):
        with pytest.raises(RecordError) as refusal:
            remote.score(article, strict=True)
        assert refusal.value.status is status
    assert remote.score(SNIPPET, strict=True).status is Status.OK


def test_streams_are_read_lazily_and_split_by_the_services_limits(service: Service) -> None:
    remote, drawn = service.load("uplifting"), 0

    def stream() -> Iterator[str]:
        nonlocal drawn
        for number in range(10_000):
            drawn += 1
            yield f"{number} {SNIPPET * 60}"  # three of them fill a body

    scores = remote.score_iter(stream())
    assert next(scores).status is Status.OK
    assert drawn < 200
    huge = remote.score({"id": "h", "content": "x" * 100_000})
    assert (huge.status, huge.id) == (Status.TOO_LONG, "h")


def test_an_event_loop_goes_on_while_a_remote_filter_scores(service: Service, uplifting: Filter) -> None:
    async def main() -> list[Score]:
        remote = service.load("uplifting")
        return await asyncio.gather(*(remote.ascore(article) for article in (SNIPPET, None)))

    assert all(map(same, asyncio.run(main()), uplifting.score_batch([SNIPPET, None])))


def test_unknown_names_and_refusals_are_typed(service: Service, url: str) -> None:
    with pytest.raises(UnknownFilterError, match=r"did you mean 'uplifting'\? Served: belonging, uplifting"):
        service.load("upliftin")
    with pytest.raises(ServiceRefusedError, match="501: this service keeps no feedback") as refusal:
        service.feedback("uplifting", "1", "high")
    assert refusal.value.code == 501
    with Service(url.replace("http", "https"), retries=0) as wrong, pytest.raises(ServiceUnreachableError):
        wrong.load("uplifting")


def test_feedback_and_token(tmp_path: Path) -> None:
    settings = Settings(feedback=tmp_path, token="secret")
    with running(create_app(Served(["uplifting"], threads=1), settings)) as url:
        with Service(url) as stranger, pytest.raises(ServiceRefusedError, match="401: "):
            stranger.load("uplifting")
        with Service(url, token="secret") as service:
            assert "secret" not in repr(service)
            with pytest.raises(UnknownFilterError, match="did you mean 'uplifting'"):
                service.feedback("upliftin", "1", "high")
            receipt = service.feedback("uplifting", "7", "high", comment="why")
            (file,) = tmp_path.glob("*.jsonl")
            assert json.loads(file.read_text(encoding="utf-8")) == receipt.model_dump()


def test_a_filter_that_cannot_score_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.add("uplifting")
    flip_byte(house.add("belonging") / "head.safetensors")
    house.use(monkeypatch)
    with running(create_app(Served(threads=1), Settings())) as url, Service(url) as service:
        with pytest.raises(ServiceError, match=r"belonging cannot score .*ChecksumError"):
            service.load("belonging")
        with pytest.warns(BrokenFilterWarning, match="left out belonging"):
            assert list(service.panel().score(SNIPPET)) == ["uplifting"]


def test_without_the_extra_the_remedy_is_told() -> None:
    code = """
import sys
sys.modules["httpx"] = None
try:
    import distilled_filters.integrations.http
except ModuleNotFoundError as error:
    print(error)
"""
    assert "python -m pip install 'distilled-filters[client]'" in run_python(code)


# --- servers that misbehave ----------------------------------------------------------------------------

Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def scripted(*script: Answer | None) -> Iterator[tuple[str, list[str]]]:
    """A server that answers one line of the script a request (None: hangs up), and then repeats the last."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            line = script[min(len(asked), len(script) - 1)]
            asked.append(self.path)
            if line is None:
                self.close_connection = True
                return
            code, headers, body = line
            self.send_response(code)
            for key, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


TABLE = b'{"filters": [], "limits": {"max_body": 1, "max_articles": 1, "timeout": 1}}'
BUSY: Answer = (429, {"Retry-After": "1"}, b'{"detail": "the queue is full"}')


def test_a_busy_service_is_asked_again_when_it_says_so() -> None:
    import time

    start = time.monotonic()
    with scripted(BUSY, None, (200, {}, TABLE)) as (url, asked), Service(url) as service:
        assert service.table.filters == []
        assert len(asked) == 3
    assert time.monotonic() - start >= 1.0


def test_a_service_that_stays_busy_is_given_up() -> None:
    with scripted(BUSY) as (url, asked), Service(url, retries=1) as service:
        with pytest.raises(ServiceBusyError, match="429: the queue is full") as busy:
            service.load("uplifting")
        assert busy.value.code == 429
        assert len(asked) == 2


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ((504, {}, b'{"detail": "slow"}'), ServiceTimeoutError, "504: slow"),
        ((500, {}, b"<html>"), ServiceRefusedError, "500: <html>"),
        ((200, {}, b"<html>"), ServiceError, "is no distillery service"),
        ((404, {}, b'{"other": 1}'), UnknownFilterError, "other"),
        (None, ServiceUnreachableError, "cannot reach"),
    ],
)
def test_what_goes_wrong_has_a_type(answer: Answer | None, kind: type[Exception], said: str) -> None:
    with scripted(answer) as (url, _), Service(url, retries=0) as service, pytest.raises(kind, match=said):
        service.load("uplifting")


def test_an_answer_that_does_not_come_is_a_time_out() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Service(url, timeout=0.2, retries=0) as service, pytest.raises(ServiceTimeoutError):
            service.load("uplifting")


def test_results_that_do_not_match_the_request_are_no_scores() -> None:
    row: Document = {
        "name": "uplifting", "version": "1.1.0", "lens": "x", "languages": [], "dimensions": [], "tiers": [],
        "problem": None,
        "provenance": {
            "filter": "uplifting", "version": "1.1.0", "checkpoint": "c", "backbone": "b", "backbone_sha256": "",
            "head_sha256": "", "engine": "0",
        },
    }  # fmt: skip
    table = {"filters": [row], "limits": {"max_body": 10_000, "max_articles": 10, "timeout": 1}}
    answers: dict[str, list[Document]] = {
        "1 articles were sent and 0 results came back": [],
        "left uplifting out": [{}],
    }
    for said, results in answers.items():
        script: list[Answer] = [(200, {}, json.dumps(each).encode()) for each in (table, {"results": results})]
        with scripted(*script) as (url, _), Service(url) as service, pytest.raises(ServiceError, match=said):
            service.load("uplifting").score(SNIPPET)
