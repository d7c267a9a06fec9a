"""Routes, and every refusal, over a real socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from distilled_filters.filter import Filter
from distilled_filters.service.served import Served
from distilled_filters.service.settings import Settings
from tests.conftest import SNIPPET, Document
from tests.service.conftest import Gate, Limited

JSON = {"content-type": "application/json"}


def detail(answer: httpx.Response) -> str:
    """Every refusal has the same shape: one sentence."""
    assert list(answer.json()) == ["detail"]
    return str(answer.json()["detail"])


def connected(http: httpx.Client) -> socket.socket:
    """A bare connection to the same service."""
    return socket.create_connection((http.base_url.host, http.base_url.port or 0), timeout=10)


# --- scores --------------------------------------------------------------------------------------------


def test_scores_are_the_librarys_own(http: httpx.Client, uplifting: Filter, examples: list[Document]) -> None:
    answer = http.post("/v1/score", json={"articles": examples, "filters": ["uplifting"]})
    assert answer.json()["results"] == [{"uplifting": uplifting.score(each).to_dict()} for each in examples]


def test_a_bad_record_never_fails_its_neighbours(http: httpx.Client) -> None:
    odd: list[object] = [None, 3, [], {}, {"content": None}, {"content": ""}, {"id": [1], "content": SNIPPET}]
    results = http.post("/v1/score", json={"articles": [SNIPPET, *odd, SNIPPET]}).json()["results"]
    statuses = [each["uplifting"]["status"] for each in results]
    assert statuses == ["ok", *["invalid"] * 5, "no_content", "ok", "ok"]
    assert all(list(each) == ["belonging", "uplifting"] for each in results)
    assert results[7]["uplifting"]["id"] == "[1]"


def test_nan_halves_of_characters_and_depth_cost_their_own_record_only(http: httpx.Client) -> None:
    """What `json` of other languages writes, and strict readers refuse for the whole body."""
    snippet = json.dumps(SNIPPET)
    deep = "[" * 400 + "]" * 400
    body = f"""{{"articles": [{{"content": NaN}}, {{"title": NaN, "content": {snippet}}},
        {{"id": "half \\ud83d", "content": {snippet}}}, {{"id": {deep}, "content": {snippet}}}]}}"""
    results = http.post("/v1/score", content=body, headers=JSON).json()["results"]
    assert [each["uplifting"]["status"] for each in results] == ["invalid", "ok", "ok", "ok"]
    assert results[2]["uplifting"]["id"] == "half ?"


def test_an_empty_request_is_no_mistake(http: httpx.Client) -> None:
    assert http.post("/v1/score", json={"articles": []}).json() == {"results": []}


def test_no_filters_means_all_and_none_is_asked_twice(http: httpx.Client) -> None:
    for filters in (None, ["uplifting", "belonging", "uplifting"]):
        (result,) = http.post("/v1/score", json={"articles": [SNIPPET], "filters": filters}).json()["results"]
        assert sorted(result) == ["belonging", "uplifting"]


def test_an_exception_inside_costs_one_article(
    http: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(article: object) -> str | None:
        if article == "break":
            raise RecursionError("too deep")
        return None

    monkeypatch.setattr("distilled_filters.service.served.record_id", broken)
    results = http.post("/v1/score", json={"articles": ["break", SNIPPET]}).json()["results"]
    assert [each["uplifting"]["status"] for each in results] == ["error", "ok"]
    assert results[0]["uplifting"]["detail"] == "RecursionError: too deep"
    assert set(results[0]["uplifting"]) == set(results[1]["uplifting"])
    assert "an article could not be scored" in caplog.text


def test_filters_says_how_they_judge_and_what_a_request_may_hold(http: httpx.Client, uplifting: Filter) -> None:
    table = http.get("/v1/filters").json()
    row = next(each for each in table["filters"] if each["name"] == "uplifting")
    assert row["version"] == uplifting.version
    assert [each["name"] for each in row["dimensions"]] == list(uplifting.spec.dimension_names)
    assert row["problem"] is None
    assert table["limits"] == {"max_body": 8 * 2**20, "max_articles": 256, "timeout": 30.0}


# --- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"{not json", 400, "the body is not JSON"),
        (b"", 400, "the body is not JSON"),
        (b'{"articles": ["\xff"]}', 400, "not UTF-8"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"9" * 5_000, 400, "not JSON"),
        (b"null", 422, "the body: "),
        (b"[]", 422, "the body: "),
        (b"{}", 422, "articles: Field required"),
        (b'{"articles": "one"}', 422, "articles: Input should be a valid list"),
        (b'{"articles": NaN}', 422, "articles: "),
        (b'{"articles": [], "filters": []}', 422, "filters: "),
        (b'{"articles": [], "filters": [1]}', 422, "filters.0: "),
        (b'{"articles": [], "filter": ["uplifting"]}', 422, "filter: Extra inputs are not permitted"),
        (b'{"articles": [], "half \\ud800": 1}', 422, "the body: "),
        (b'{"articles": [], "' + b"x" * 100_000 + b'": 1}', 422, "xxx"),
        (b'{"articles": [], "filters": ["upliftin"]}', 404, "did you mean 'uplifting'?"),
        (b'{"articles": [], "filters": ["\\ud800"]}', 404, "no filter named"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(http: httpx.Client, body: bytes, code: int, said: str) -> None:
    answer = http.post("/v1/score", content=body, headers=JSON)
    assert (answer.status_code, said in detail(answer)) == (code, True), answer.text
    assert http.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_pages_of_other_sites_cannot_post(http: httpx.Client, kind: str) -> None:
    answer = http.post("/v1/score", content=b'{"articles": []}', headers={"content-type": kind})
    assert answer.status_code == 415
    assert "application/json" in detail(answer)


def test_unknown_routes_and_methods(http: httpx.Client) -> None:
    assert http.get("/v1/nothing").status_code == 404
    answer = http.get("/v1/score")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_body_beyond_the_limit_is_refused_before_its_end(limited: Limited) -> None:
    with limited(Settings(max_body=1000)) as http:
        announced = http.post("/v1/score", json={"articles": ["x" * 2000]})
        assert announced.status_code == 413
        assert "1000 bytes" in detail(announced)

        head = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        with connected(http) as client:
            client.sendall(head + b"content-length: 1001\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 413 ")
        with connected(http) as client:
            client.sendall(head + b"transfer-encoding: chunked\r\n\r\n" + b"1f4\r\n" + b"x" * 500 + b"\r\n")
            client.sendall(b"1f5\r\n" + b"x" * 501 + b"\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 413 "), "no chunk without end was needed"
        assert "distillery_body_bytes 0.0" in http.get("/metrics").text


def test_too_many_articles(limited: Limited) -> None:
    with limited(Settings(max_articles=2)) as http:
        answer = http.post("/v1/score", json={"articles": ["a", "b", "c"]})
        assert (answer.status_code, detail(answer)) == (422, "articles: 3 of them; one request may hold 2")


def test_a_slow_client_is_told_so_and_holds_nobody_up(limited: Limited) -> None:
    with limited(Settings(timeout=0.5)) as http:
        head = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
        with connected(http) as slow:
            slow.sendall(head)
            assert http.post("/v1/score", json={"articles": []}).status_code == 200
            answer = slow.makefile("rb").read()  # to its end: the connection is closed, too
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"did not come within 0.5 s" in answer


def test_a_client_that_hangs_up_leaves_nothing_behind(limited: Limited) -> None:
    with limited(Settings()) as http:
        head = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
        with connected(http) as client:
            client.sendall(head)
        metrics = eventually(lambda: http.get("/metrics").text, lambda text: 'code="499",route="/v1/score"' in text)
        assert "distillery_body_bytes 0.0" in metrics


# --- load ----------------------------------------------------------------------------------------------


def eventually(look: Any, right: Any, seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while not right(seen := look()):
        assert time.monotonic() < end, seen
        time.sleep(0.02)
    return seen


def test_a_full_queue_says_when_to_come_again(limited: Limited, gate: Gate) -> None:
    with limited(Settings(queue=2, max_articles=2)) as http, ThreadPoolExecutor(4) as pool:
        busy = [
            pool.submit(http.post, "/v1/score", json={"articles": ["x", {"content": "wait"}][1:]}) for _ in range(2)
        ]
        for _ in busy:
            assert gate.inside.acquire(timeout=10)
        waiting = pool.submit(http.post, "/v1/score", json={"articles": [SNIPPET, SNIPPET]})
        eventually(lambda: http.get("/health").json()["waiting"], lambda count: count == 2)
        assert http.get("/health/ready").status_code == 503

        refused = http.post("/v1/score", json={"articles": [SNIPPET]})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1

        gate.opened.set()
        assert [each.result().status_code for each in (*busy, waiting)] == [200] * 3
        assert http.get("/health/ready").status_code == 200


def test_what_is_not_scored_in_time_is_dropped(limited: Limited, gate: Gate) -> None:
    with limited(Settings(timeout=0.5)) as http:
        answer = http.post("/v1/score", json={"articles": [{"content": "wait"}] * 10})
        assert answer.status_code == 504
        assert http.get("/health").json()["waiting"] == 0
        gate.opened.set()
        assert http.post("/v1/score", json={"articles": [SNIPPET]}).status_code == 200


def test_a_client_that_leaves_takes_its_articles_along(limited: Limited, gate: Gate) -> None:
    with limited(Settings()) as http:
        with pytest.raises(httpx.ReadTimeout):
            http.post("/v1/score", json={"articles": [{"content": "wait"}] * 50}, timeout=0.5)
        eventually(lambda: http.get("/health").json()["waiting"], lambda count: count == 0)


def test_bodies_in_hand_are_bounded(limited: Limited, gate: Gate) -> None:
    """Sixteen of the largest bodies, whatever the number of requests."""
    with limited(Settings(max_body=2000)) as http, ThreadPoolExecutor(20) as pool:
        article = {"content": "wait", "padding": "x" * 1900}
        sent = [pool.submit(http.post, "/v1/score", json={"articles": [article]}) for _ in range(20)]
        refused = eventually(lambda: [each for each in sent if each.done()], lambda done: len(done) >= 3)
        assert {each.result().status_code for each in refused} == {503}
        assert refused[0].result().headers["retry-after"] == "1"
        gate.opened.set()
        assert {each.result().status_code for each in sent} == {200, 503}
        assert "distillery_body_bytes 0.0" in http.get("/metrics").text


def test_many_clients_get_their_own_scores(url: str, uplifting: Filter, examples: list[Document]) -> None:
    """AC10 under service load: scores do not depend on who asks along."""
    expected = [uplifting.score(each).to_dict() for each in examples]
    failures: list[object] = []

    def client(start: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as http:
            for step in range(3):
                place = (start + step) % len(examples)
                body = {"articles": [examples[place], None], "filters": ["uplifting"]}
                answer = http.post("/v1/score", json=body)
                if answer.status_code != 200 or answer.json()["results"][0]["uplifting"] != expected[place]:
                    failures.append(answer.text)

    threads = [threading.Thread(target=client, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- operation -----------------------------------------------------------------------------------------


def test_a_token_is_asked_for_but_for_health(limited: Limited) -> None:
    with limited(Settings(token="right")) as http:
        for given in (None, "Bearer wrong", "Basic right", "Bearer \xff"):
            headers = {} if given is None else {b"authorization": given.encode("latin-1")}
            answer = http.post("/v1/score", json={"articles": []}, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert http.get("/metrics", headers=headers).status_code == 401
        right = {"authorization": "Bearer right"}
        assert http.post("/v1/score", json={"articles": []}, headers=right).status_code == 200
        assert http.get("/health").status_code == 200
        description = http.get("/openapi.json").json()
        assert description["paths"]["/v1/score"]["post"]["security"] == [{"bearer": []}]
        assert "right" not in repr(Settings(token="right"))


def test_an_unauthorised_body_is_not_read(limited: Limited) -> None:
    with limited(Settings(token="right")) as http:
        head = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
        with connected(http) as client:
            client.sendall(head)
            assert client.recv(100).startswith(b"HTTP/1.1 401 ")


def test_metrics_count_requests_statuses_and_tiers(limited: Limited) -> None:
    with limited(Settings()) as http:
        tier = http.post("/v1/score", json={"articles": [SNIPPET, None]}).json()["results"][0]["uplifting"]["tier"]
        http.get("/secret/scan")
        page = http.get("/metrics")
        assert page.headers["content-type"].startswith("text/plain")
        for line in (
            'distillery_requests_total{code="200",route="/v1/score"} 1.0',
            'distillery_requests_total{code="404",route="other"} 1.0',
            'distillery_scores_total{filter="uplifting",status="ok"} 1.0',
            'distillery_scores_total{filter="uplifting",status="invalid"} 1.0',
            f'distillery_tiers_total{{filter="uplifting",tier="{tier}"}} 1.0',
            'distillery_filter_up{filter="uplifting"} 1.0',
            "distillery_queue_articles 0.0",
            "distillery_article_seconds_count 2.0",
        ):
            assert line in page.text
        assert SNIPPET not in page.text
        assert "secret" not in page.text
