"""A client of `distillery serve` whose filters look like local ones. Needs the extra `[client]`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from distilled_filters.article import Article, record_id
from distilled_filters.errors import DistilledFiltersError, RecordError, UnknownFilterError
from distilled_filters.parallel import in_thread, ordered_map
from distilled_filters.registry import did_you_mean
from distilled_filters.result import Provenance, Score, Status
from distilled_filters.service.schema import FeedbackReceipt, FilterRow, FilterTable, Scores

try:
    import httpx
    from httpx_retries import Retry, RetryTransport
except ModuleNotFoundError as error:
    remedy = f"the client needs {error.name}: python -m pip install 'distilled-filters[client]'"
    raise ModuleNotFoundError(remedy, name=error.name) from error

__all__ = [
    "Filter",
    "Panel",
    "Service",
    "ServiceBusyError",
    "ServiceError",
    "ServiceRefusedError",
    "ServiceTimeoutError",
    "ServiceUnreachableError",
]

Model = TypeVar("Model", bound=BaseModel)

# Articles a request: enough that its overhead is small, few enough that progress is seen.
_BATCH = 16
# What is around the articles in a body: keys and the filters' names.
_AROUND = 4096


class ServiceError(DistilledFiltersError):
    """The service gave no scores; `code` is the HTTP status, None where there was no answer."""

    def __init__(self, message: str, code: int | None = None) -> None:
        """Keep the code beside the message."""
        super().__init__(message)
        self.code = code


class ServiceUnreachableError(ServiceError, ConnectionError):
    """No connection, or it broke, and trying again did not help."""


class ServiceBusyError(ServiceError):
    """The service had no room (429, 503), as often as it was tried."""


class ServiceTimeoutError(ServiceError, TimeoutError):
    """No answer in time, here or there (408, 504)."""


class ServiceRefusedError(ServiceError):
    """The service would not take the request (400, 401, 413, 422, 501 ...), or failed on it."""


class Service:
    """A service under a URL; threads may share one.

        with Service("http://127.0.0.1:8000") as service:
            uplifting = service.load("uplifting")
            uplifting.score({"title": "...", "content": "..."}).tier

    Connection errors, 429 and 503 are tried again, after `Retry-After` where the service says it.

    Args:
        url: Where `distillery serve` listens.
        token: The bearer token, if it asks for one.
        timeout: Seconds to wait for one answer, without retries.
        retries: How often a request is tried again.
        connections: Requests at once in `score_batch` and `score_iter`.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = 60.0, retries: int = 5, connections: int = 4
    ) -> None:
        """Open nothing yet; the first request does."""
        self.connections = connections
        retry = Retry(
            total=retries,
            backoff_factor=0.25,
            max_backoff_wait=60.0,
            allowed_methods=["GET", "POST"],
            status_forcelist=[429, 503],
            retry_on_exceptions=[httpx.NetworkError, httpx.RemoteProtocolError],
        )
        # A thread more than there are connections would wait for one and call that a time-out.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=connections)
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            transport=RetryTransport(httpx.HTTPTransport(limits=limits), retry),
        )
        self._table: FilterTable | None = None

    @property
    def table(self) -> FilterTable:
        """The filters that are served, and the limits of a request; asked for once."""
        if self._table is None:
            self._table = self._ask("GET", "/v1/filters", FilterTable)
        return self._table

    def load(self, name: str) -> Filter:
        """Return one filter.

        Raises:
            UnknownFilterError: when the service has no filter of that name.
            ServiceError: when the filter is there and cannot score; when there is no answer.
        """
        row = next((row for row in self.table.filters if row.name == name), None)
        if row is None:
            names = [row.name for row in self.table.filters]
            hint = f"{did_you_mean(name, names)} Served: {', '.join(names)}"
            raise UnknownFilterError(f"{self._http.base_url} has no filter named {name!r}{hint}")
        if row.provenance is None:
            raise ServiceError(f"{name} cannot score at {self._http.base_url}: {row.problem}")
        return Filter(self, row, row.provenance)

    def panel(self, names: Sequence[str] | None = None) -> Panel:
        """Return the filters named, or all that can score; the others are left out with a warning.

        Raises:
            UnknownFilterError, ServiceError: as `load` does, for filters that are named.
        """
        if names is None:
            for row in self.table.filters:
                if row.problem is not None:
                    from distilled_filters.panel import BrokenFilterWarning  # opens the engine, which a client spares

                    warnings.warn(f"left out {row.name}: {row.problem}", BrokenFilterWarning, stacklevel=2)
            names = [row.name for row in self.table.filters if row.problem is None]
        return Panel(self, [self.load(name) for name in names])

    def feedback(
        self, filter: str, id: str, tier: str, *, comment: str | None = None, version: str | None = None
    ) -> FeedbackReceipt:
        """Say what tier an article should have got. Where a connection broke, a line may be kept twice.

        Raises:
            UnknownFilterError: when the service has no such filter.
            ServiceRefusedError: when it has no such tier, or keeps no feedback.
            ServiceError: when there is no answer.
        """
        body = {"filter": filter, "id": id, "tier": tier, "comment": comment, "version": version}
        return self._ask("POST", "/v1/feedback", FeedbackReceipt, json.dumps(body).encode())

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Service {self._http.base_url}>"

    def _ask(self, method: str, path: str, model: type[Model], body: bytes | None = None) -> Model:
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            answer = self._http.request(method, path, content=body, headers=headers)
        except httpx.TimeoutException as error:
            raise ServiceTimeoutError(f"no answer from {self._http.base_url} in time: {error!r}") from error
        except httpx.HTTPError as error:
            raise ServiceUnreachableError(f"cannot reach {self._http.base_url}: {error}") from error
        if answer.is_success:
            try:
                return model.model_validate_json(answer.content)
            except ValidationError as error:
                raise ServiceError(f"{answer.url} is no distillery service: {error}", answer.status_code) from error
        raise _refusal(answer)


@dataclass(frozen=True)
class Filter:
    """A filter that a service has; scores are those of the local one, rounded to four decimals."""

    service: Service
    row: FilterRow
    provenance: Provenance

    @property
    def name(self) -> str:
        """The filter's name."""
        return self.row.name

    @property
    def version(self) -> str:
        """MAJOR.MINOR.PATCH of the filter."""
        return self.provenance.version

    def score(self, article: object, *, strict: bool = False) -> Score:
        """Score one article, as the local `Filter.score` does.

        Raises:
            RecordError: with `strict`, where the article cannot be scored.
            ServiceError: when there is no answer.
        """
        return self._panel.score(article, strict=strict)[self.name]

    async def ascore(self, article: object, *, strict: bool = False) -> Score:
        """Score one article on a worker thread, while the event loop goes on."""
        return (await self._panel.ascore(article, strict=strict))[self.name]

    def score_batch(self, articles: Iterable[object], *, strict: bool = False) -> list[Score]:
        """Score articles, many a request and several requests at once; results keep their order."""
        return list(self.score_iter(articles, strict=strict))

    def score_iter(self, articles: Iterable[object], *, strict: bool = False) -> Iterator[Score]:
        """Score a stream lazily, in order."""
        return (scores[self.name] for scores in self._panel.score_iter(articles, strict=strict))

    @property
    def _panel(self) -> Panel:
        return Panel(self.service, [self])


@dataclass(frozen=True)
class Panel:
    """Filters that score together, each article sent and read once."""

    service: Service
    filters: Sequence[Filter]

    def score(self, article: object, *, strict: bool = False) -> dict[str, Score]:
        """Return `{filter name: Score}`.

        Raises:
            RecordError: with `strict`, where the article cannot be scored.
            ServiceError: when there is no answer.
        """
        return self._send([self._packed(article)], strict)[0]

    async def ascore(self, article: object, *, strict: bool = False) -> dict[str, Score]:
        """Score one article on a worker thread, while the event loop goes on."""
        return await in_thread(partial(self.score, strict=strict), article, threads=self.service.connections)

    def score_batch(self, articles: Iterable[object], *, strict: bool = False) -> list[dict[str, Score]]:
        """Score articles, many a request and several requests at once; results keep their order."""
        return list(self.score_iter(articles, strict=strict))

    def score_iter(self, articles: Iterable[object], *, strict: bool = False) -> Iterator[dict[str, Score]]:
        """Score a stream lazily, in order, holding two requests a connection."""
        send = partial(self._send, strict=strict)
        for scores in ordered_map(send, self._batches(articles), self.service.connections):
            yield from scores

    def _batches(self, articles: Iterable[object]) -> Iterator[list[_Packed]]:
        limits = self.service.table.limits
        most, size = min(_BATCH, limits.max_articles), 0
        batch: list[_Packed] = []
        for packed in map(self._packed, articles):
            full = len(batch) == most or size + packed.size > _room(limits.max_body)
            if batch and full:
                yield batch
                batch, size = [], 0
            batch.append(packed)
            size += packed.size
        if batch:
            yield batch

    def _packed(self, article: object) -> _Packed:
        """Encode an article as it is sent, or tell what is wrong with it that needs no service to see."""
        try:
            parsed = Article.parse(article)
        except RecordError as error:
            return _Packed(refusal=error, id=record_id(article))
        body = json.dumps({"id": parsed.id, "title": parsed.title, "content": parsed.content}).encode()
        room = _room(self.service.table.limits.max_body)
        if len(body) > room:
            message = f"{len(body):,} bytes; the service reads at most {room:,}. Send the article, not the archive"
            return _Packed(refusal=RecordError(Status.TOO_LONG, message), id=parsed.id)
        return _Packed(body=body, id=parsed.id)

    def _send(self, batch: list[_Packed], strict: bool) -> list[dict[str, Score]]:
        sent = [packed.body for packed in batch if packed.refusal is None]
        answered = iter(self._ask(sent) if sent else ())
        results = []
        for packed in batch:
            if packed.refusal is None:
                scores = next(answered)
            elif strict:
                raise packed.refusal
            else:
                scores = {each.name: packed.refused(each.provenance) for each in self.filters}
            for score in scores.values():
                if strict and score.status is not Status.OK:
                    raise RecordError(score.status, score.detail or score.status)
            results.append(scores)
        return results

    def _ask(self, articles: Sequence[bytes]) -> list[dict[str, Score]]:
        names = json.dumps([each.name for each in self.filters]).encode()
        body = b'{"filters": %s, "articles": [%s]}' % (names, b",".join(articles))
        answer = self.service._ask("POST", "/v1/score", Scores, body)
        if len(answer.results) != len(articles):
            raise ServiceError(f"{len(articles)} articles were sent and {len(answer.results)} results came back")
        return [{each.name: _score(each, result) for each in self.filters} for result in answer.results]


@dataclass(frozen=True)
class _Packed:
    """One article, ready to be sent; or why it need not be."""

    body: bytes = b""
    id: str | None = None
    refusal: RecordError | None = None

    @property
    def size(self) -> int:
        return len(self.body) + 1

    def refused(self, provenance: Provenance) -> Score:
        status = self.refusal.status if self.refusal else Status.ERROR
        return Score(status=status, provenance=provenance, id=self.id, detail=str(self.refusal))


def _room(max_body: int) -> int:
    return max(0, max_body - _AROUND)


def _score(each: Filter, result: dict[str, Any]) -> Score:
    row = result.get(each.name)
    if row is None:
        raise ServiceError(f"{each.service!r} left {each.name} out of its answer")
    values = {key: getattr(row, key) for key in type(row).model_fields if key not in ("filter", "version")}
    return Score(**{**values, "provenance": row.provenance or each.provenance})


def _refusal(answer: httpx.Response) -> DistilledFiltersError:
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200] or answer.reason_phrase
    if answer.status_code == 404 and answer.request.url.path.startswith("/v1/"):
        return UnknownFilterError(detail)
    kinds = {408: ServiceTimeoutError, 504: ServiceTimeoutError, 429: ServiceBusyError, 503: ServiceBusyError}
    return kinds.get(answer.status_code, ServiceRefusedError)(f"{answer.status_code}: {detail}", answer.status_code)
