"""Reading a request's body under limits, so that no client can fill the memory or hold a place for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import HTTPException, Request
from pydantic import BaseModel, ValidationError

from distilled_filters.corpus.text import parse_json
from distilled_filters.errors import RecordError

__all__ = ["Reader", "parse"]

Model = TypeVar("Model", bound=BaseModel)

# Bodies held at once, in largest bodies.
_BODIES = 16
# A body beyond this is parsed beside the event loop, which would else stand still.
_PARSE_BESIDE = 64 * 1024
# Enough to see what is wrong, where every one of many records is.
_PROBLEMS_TOLD = 3


class Reader:
    """Reads bodies of at most `max_body` bytes within `seconds`, and of all requests at most sixteen times that."""

    def __init__(self, max_body: int, seconds: float) -> None:
        """Hold no body yet."""
        self.max_body, self.seconds = max_body, seconds
        self.held = 0
        """Bytes of bodies that requests in hand brought."""

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the body; it counts as held until the context is left.

        Raises:
            HTTPException: 408 too slow, 413 too large, 415 no JSON, 503 too many bodies at once.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        # Pages of other sites may send plain text anywhere, and JSON only where they are allowed to.
        if kind != "application/json":
            raise HTTPException(415, f"the body must be application/json, not {kind[:80] or 'of no content type'!r}")
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self.max_body:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        try:
            try:
                async with asyncio.timeout(self.seconds):
                    async for chunk in request.stream():
                        if size + len(chunk) > self.max_body:
                            raise self._too_large()
                        if self.held + len(chunk) > _BODIES * self.max_body:
                            raise HTTPException(503, "too many large requests at once", {"Retry-After": "1"})
                        size += len(chunk)
                        self.held += len(chunk)
                        chunks.append(chunk)
            except TimeoutError:
                raise HTTPException(
                    408, f"the body did not come within {self.seconds:g} s", {"Connection": "close"}
                ) from None
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self.held -= size

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413,
            f"the body has more than {self.max_body} bytes; send fewer articles, or text in place of pages",
        )


async def parse(model: type[Model], body: bytes) -> Model:
    """Return the body as a model.

    Raises:
        HTTPException: 400 for what is no JSON, 422 for JSON of another shape.
    """
    if len(body) > _PARSE_BESIDE:
        value = await asyncio.to_thread(parse_json, body, "the body")
    else:
        value = parse_json(body, "the body")
    if isinstance(value, RecordError):
        raise HTTPException(400, str(value))
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, each['loc'])) or 'the body'}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False, include_context=False)[:_PROBLEMS_TOLD]
        ]
        raise HTTPException(422, "; ".join(problems)) from None
