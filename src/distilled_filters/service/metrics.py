"""What Prometheus may know of a service: counts and times, never an article."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Metrics", "MetricsMiddleware"]

_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ARTICLE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
# What a scanner asks for must not become a time series each.
_ELSEWHERE = "other"


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self, waiting: Callable[[], int], held: Callable[[], int], filters: Mapping[str, bool]) -> None:
        """Register everything.

        Args:
            waiting: Returns the articles that wait in the queue.
            held: Returns the bytes of request bodies in hand.
            filters: Whether each filter can score.
        """
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "distillery_requests", "Requests by route and status code; 499 where the client left.", ("route", "code"),
            registry=self._registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "distillery_request_seconds", "Seconds from a request's head to the end of its answer.", ("route",),
            buckets=_REQUEST_SECONDS, registry=self._registry,
        )  # fmt: skip
        self.article_seconds = Histogram(
            "distillery_article_seconds", "Seconds of scoring an article by all filters asked, without waiting.",
            buckets=_ARTICLE_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._statuses = Counter(
            "distillery_scores", "Scores by filter and status.", ("filter", "status"), registry=self._registry
        )
        self._tiers = Counter(
            "distillery_tiers", "Scores of status ok by filter and tier.", ("filter", "tier"), registry=self._registry
        )
        self.feedback = Counter("distillery_feedback", "Lines of feedback kept.", ("filter",), registry=self._registry)
        gauge = Gauge("distillery_queue_articles", "Articles that wait for a thread.", registry=self._registry)
        gauge.set_function(waiting)
        gauge = Gauge("distillery_body_bytes", "Bytes of the bodies of requests in hand.", registry=self._registry)
        gauge.set_function(held)
        up = Gauge("distillery_filter_up", "1 where a filter can score.", ("filter",), registry=self._registry)
        for name, healthy in filters.items():
            up.labels(name).set(healthy)

    def count(self, scores: Mapping[str, Mapping[str, Any]]) -> None:
        """Count one article's scores."""
        for name, score in scores.items():
            self._statuses.labels(name, score["status"]).inc()
            if score["tier"] is not None:
                self._tiers.labels(name, score["tier"]).inc()

    def page(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)


class MetricsMiddleware:
    """Counts and times every request, whatever becomes of it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Stand before `app`."""
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and watch its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, code = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", _ELSEWHERE)
            self._metrics.requests.labels(route, str(code)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - start)
