"""The service as an ASGI application: routes, and what becomes of errors."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, HTTPException, Request, Security
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

import distilled_filters
from distilled_filters.errors import UnknownFilterError
from distilled_filters.service import schema
from distilled_filters.service.bearer import Bearer
from distilled_filters.service.feedback import FeedbackStore, FolderFullError
from distilled_filters.service.metrics import Metrics, MetricsMiddleware
from distilled_filters.service.nexusmind import nexusmind_row
from distilled_filters.service.openapi import answers, request_body
from distilled_filters.service.reading import Reader, parse
from distilled_filters.service.scheduler import QueueFullError, Scheduler
from distilled_filters.service.served import Served
from distilled_filters.service.settings import Settings

__all__ = ["create_app"]

Out = TypeVar("Out")
Row = Mapping[str, Any]

# What nginx calls it; nobody reads the answer.
_CLIENT_LEFT = 499
# Characters of a refusal; the rest is the client's own.
_DETAIL = 2000


def create_app(served: Served, settings: Settings) -> FastAPI:
    """Return the application over opened filters; it starts its workers with its lifespan."""
    service = _Service(served, settings)
    app = FastAPI(
        title="distilled-filters",
        version=distilled_filters.__version__,
        description="News filters distilled from large language models, over HTTP.",
        # Their pages load scripts from elsewhere; /openapi.json is enough for every tool.
        docs_url=None,
        redoc_url=None,
        lifespan=service.lifespan,
        exception_handlers={
            StarletteHTTPException: _refused,
            ClientDisconnect: _left,
            Exception: _broken,
        },
    )
    app.add_middleware(MetricsMiddleware, metrics=service.metrics)
    app.include_router(service.open_routes())
    app.include_router(service.closed_routes())
    app.openapi()  # now, so that a mistake in it shows at the start and not at the first look
    return app


class _Service:
    """What the routes share."""

    def __init__(self, served: Served, settings: Settings) -> None:
        self.served, self.settings = served, settings
        self.reader = Reader(settings.max_body, settings.timeout)
        self.scheduler = Scheduler(served.threads, settings.queue)
        self.metrics = Metrics(
            waiting=lambda: self.scheduler.waiting,
            held=lambda: self.reader.held,
            filters={name: name in served.filters for name in served.names},
        )
        self.feedback = FeedbackStore(settings.feedback, settings.max_feedback) if settings.feedback else None

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        async with self.scheduler:
            yield

    def open_routes(self) -> APIRouter:
        """The routes that need no token."""
        router = APIRouter(tags=["operation"])
        full: dict[int | str, dict[str, Any]] = {503: {"model": schema.Health, "description": "The queue is full."}}
        router.add_api_route("/health", self.health, response_model=schema.Health, summary="Does the process live?")
        router.add_api_route(
            "/health/ready", self.ready, response_model=schema.Health, responses=full, summary="Are requests welcome?"
        )
        return router

    def closed_routes(self) -> APIRouter:
        """The routes that need the token, where there is one."""
        router = APIRouter(dependencies=[Security(Bearer(self.settings.token))] if self.settings.token else [])
        refusals: tuple[int, ...] = (401,) if self.settings.token else ()
        router.add_api_route(
            "/metrics", self.prometheus, tags=["operation"], summary="Prometheus metrics",
            response_class=PlainTextResponse, responses=answers(*refusals),
        )  # fmt: skip
        router.add_api_route(
            "/v1/filters", self.filters, tags=["scores"], summary="Which filters are served",
            response_model=schema.FilterTable, responses=answers(*refusals),
        )  # fmt: skip
        names = self.served.names
        articles = request_body(
            schema.ScoreRequest,
            {"articles": [schema.EXAMPLE_ARTICLE], "filters": names[:1]},
            values={"filters": names},
            most={"articles": self.settings.max_articles},
        )
        refusals += (400, 404, 408, 413, 415, 422, 503)
        router.add_api_route(
            "/v1/score", self.score, methods=["POST"], tags=["scores"], summary="Score articles",
            response_model=schema.Scores, responses=answers(*refusals, 429, 504), openapi_extra=articles,
        )  # fmt: skip
        router.add_api_route(
            "/v1/nexusmind", self.nexusmind, methods=["POST"], tags=["scores"],
            summary="Score articles, in the row shape that NexusMind stores",
            response_model=schema.NexusMindRows, responses=answers(*refusals, 429, 504), openapi_extra=articles,
        )  # fmt: skip
        tiers = sorted({tier.name for each in self.served.filters.values() for tier in each.spec.tiers})
        feedback = request_body(
            schema.Feedback,
            {"filter": names[0], "id": schema.EXAMPLE_ARTICLE["id"], "tier": tiers[0], "comment": "A yearly count."},
            values={"filter": names, "tier": tiers},
            most={},
        )
        router.add_api_route(
            "/v1/feedback", self.keep, methods=["POST"], tags=["feedback"], summary="Say what a tier should have been",
            response_model=schema.FeedbackReceipt, status_code=201, responses=answers(*refusals, 501, 507),
            openapi_extra=feedback,
        )  # fmt: skip
        return router

    async def health(self) -> schema.Health:
        """Answer as long as the process lives; `ready` and `filters` say how it is."""
        return self._health()

    async def ready(self) -> Response:
        """Answer 200 while the queue has room, and 503 else, so that a balancer asks another process."""
        health = self._health()
        return JSONResponse(health.model_dump(), 200 if health.ready else 503)

    async def prometheus(self) -> Response:
        """Return counts and times of requests, articles, statuses and tiers, and the queue's length."""
        return Response(self.metrics.page(), media_type=CONTENT_TYPE_LATEST)

    async def filters(self) -> schema.FilterTable:
        """Return the filters, how they judge, and what a request may hold."""
        settings = self.settings
        return schema.FilterTable(
            filters=self.served.rows(),
            limits=schema.Limits(
                max_body=settings.max_body, max_articles=settings.max_articles, timeout=settings.timeout
            ),
        )

    async def score(self, request: Request) -> Response:
        """Return each article's scores. A record that cannot be scored gets a status; its neighbours are scored."""
        return await self._answer(request, "results", lambda scores: scores)

    async def nexusmind(self, request: Request) -> Response:
        """Return each article's scores as `<filter>_analysis`."""
        return await self._answer(request, "rows", lambda scores: nexusmind_row(scores, self.served.calibrated))

    async def keep(self, request: Request) -> schema.FeedbackReceipt:
        """Append one JSON line to the feedback folder; what is not written down is not answered with 201."""
        if self.feedback is None:
            raise HTTPException(501, "this service keeps no feedback; start it with --feedback FOLDER")
        async with self.reader.body(request) as body:
            feedback = await parse(schema.Feedback, body)
        (name,) = self._choose([feedback.filter])
        each = self.served.filters.get(name)
        tiers = [tier.name for tier in each.spec.tiers] if each else [feedback.tier]
        if feedback.tier not in tiers:
            raise HTTPException(422, f"tier: {name} has no tier {feedback.tier[:80]!r}, but {', '.join(tiers)}")
        try:
            receipt = await asyncio.to_thread(self.feedback.add, feedback, each.version if each else None)
        except (FolderFullError, OSError) as error:
            raise HTTPException(507, f"the feedback could not be kept: {error}") from error
        self.metrics.feedback.labels(name).inc()
        return receipt

    async def _answer(self, request: Request, key: str, shape: Callable[[Mapping[str, Row]], object]) -> Response:
        async with self.reader.body(request) as body:
            asked = await parse(schema.ScoreRequest, body)
            if len(asked.articles) > self.settings.max_articles:
                raise HTTPException(
                    422, f"articles: {len(asked.articles)} of them; one request may hold {self.settings.max_articles}"
                )
            names = self._choose(asked.filters)

            def encoded(article: object) -> bytes:
                start = time.perf_counter()
                scores = self.served.score(article, names)
                self.metrics.article_seconds.observe(time.perf_counter() - start)
                self.metrics.count(scores)
                # Here, and not in the event loop; halves of surrogate pairs, which an `id` may hold, become "?".
                return json.dumps(shape(scores), ensure_ascii=False).encode("utf-8", "replace")

            try:
                async with asyncio.timeout(self.settings.timeout):
                    parts = await _while_connected(request, self.scheduler.run(encoded, asked.articles))
            except QueueFullError as error:
                raise HTTPException(429, str(error), {"Retry-After": str(error.retry_after)}) from None
            except TimeoutError:
                raise HTTPException(504, f"not scored within {self.settings.timeout:g} s; send fewer") from None
        return Response(b'{"%s":[%s]}' % (key.encode(), b",".join(parts)), media_type="application/json")

    def _choose(self, names: list[str] | None) -> tuple[str, ...]:
        try:
            return self.served.choose(names)
        except UnknownFilterError as error:
            raise HTTPException(404, str(error)) from None

    def _health(self) -> schema.Health:
        return schema.Health(
            status="degraded" if self.served.problems else "ok",
            ready=self.scheduler.waiting < self.scheduler.limit,
            version=distilled_filters.__version__,
            # Why a filter failed stands at /v1/filters; this page is open to all.
            filters={name: "ok" if name in self.served.filters else "failed" for name in self.served.names},
            waiting=self.scheduler.waiting,
            queue=self.scheduler.limit,
        )


async def _while_connected(request: Request, work: Awaitable[Out]) -> Out:
    """Await the work, but drop it when the client leaves: under load, dead requests would crowd out living ones."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left_by(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _left_by(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, StarletteHTTPException):
        raise error
    # What a client wrote may stand in it: of any length, and with halves of surrogate pairs that UTF-8 has not.
    detail = str(error.detail)[:_DETAIL].encode("utf-8", "replace").decode()
    return JSONResponse({"detail": detail}, error.status_code, error.headers)


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=_CLIENT_LEFT)


async def _broken(_: Request, __: Exception) -> Response:
    # The server logs it with its traceback, which is nobody else's business.
    return JSONResponse({"detail": "the service failed on this request; its log says why"}, 500)
