"""What the service says of itself: bodies, answers and examples, exact enough to test it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from distilled_filters.service.schema import Problem

__all__ = ["answers", "request_body"]

_MEANINGS = {
    400: "The body is not JSON in UTF-8.",
    401: "The token is missing or wrong.",
    404: "No such filter; the nearest names are told.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "The JSON has another shape, or too many articles.",
    429: "The queue is full; `Retry-After` says in how many seconds it may not be.",
    501: "This service keeps no feedback.",
    503: "The service holds too many large requests or connections.",
    504: "Scoring took too long.",
    507: "There is no room for more feedback.",
}
_WITH_RETRY_AFTER = {429, 503}
_RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}


def answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for refusals with these codes."""
    described: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        described[code] = {"model": Problem, "description": _MEANINGS[code]}
        if code in _WITH_RETRY_AFTER:
            described[code]["headers"] = {"Retry-After": _RETRY_AFTER}
    return described


def request_body(
    model: type[BaseModel], example: Any, *, values: Mapping[str, Sequence[str]], most: Mapping[str, int]
) -> dict[str, Any]:
    """Return `openapi_extra` for a body that the route reads itself.

    Args:
        model: Its shape, without models of its own inside.
        example: A body that is accepted.
        values: Keys whose strings, alone or in a list, must be one of these.
        most: Keys of lists, with the greatest length of each.
    """
    schema = model.model_json_schema()
    for key, allowed in values.items():
        _string_of(schema["properties"][key])["enum"] = list(allowed)
    for key, length in most.items():
        schema["properties"][key]["maxItems"] = length
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


def _string_of(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") == "string":
        return schema
    inner = schema.get("items") or next(each for each in schema["anyOf"] if each.get("type") != "null")
    return _string_of(inner)
