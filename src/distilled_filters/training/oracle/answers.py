"""From a chat completion to a checked answer, or to what is wrong with it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from distilled_filters.spec import problems_of
from distilled_filters.training.oracle.errors import AnswerError, Problem

__all__ = ["json_schema", "parse_answer", "text_of"]

M = TypeVar("M", bound=BaseModel)

_THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_REFUSALS = frozenset({"content_filter", "refusal", "safety", "prohibited_content"})
_SHOWN = 300


@functools.cache
def json_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """Return a model's JSON Schema as strict structured output wants it: closed objects, all fields required.

    It is shared between calls: read only.
    """
    document = schema.model_json_schema()
    for part in (document, *document.get("$defs", {}).values()):
        if part.get("type") == "object":
            part["additionalProperties"] = False
            part["required"] = list(part.get("properties", {}))
    return document


def text_of(response: Mapping[str, Any]) -> str:
    """Return what the model wrote in a chat completion, thoughts left out; empty where it wrote nothing."""
    content = _message(response).get("content")
    return _THOUGHTS.sub("", content).strip() if isinstance(content, str) else ""


def parse_answer(response: Mapping[str, Any], schema: type[M]) -> M:
    """Return the answer in a chat completion, checked against its schema.

    Raises:
        AnswerError: `refused`, `truncated`, `not_json` or `wrong_schema`, with what is wrong.
    """
    message, finish = _message(response), _choice(response).get("finish_reason")
    if message.get("refusal") or str(finish).lower() in _REFUSALS:
        raise AnswerError(Problem.REFUSED, f"the model refused: {message.get('refusal') or finish}")
    text = text_of(response)
    document = _first_object(text)
    if document is None:
        if finish == "length":
            raise AnswerError(Problem.TRUNCATED, "the answer was cut off at the limit of output tokens")
        raise AnswerError(Problem.NOT_JSON, f"no JSON object in the answer {text[:_SHOWN]!r}")
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        raise AnswerError(Problem.WRONG_SCHEMA, problems_of(error)) from None


def _first_object(text: str) -> dict[str, Any] | None:
    """Return the first whole JSON object, whatever fences or words stand around it."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            # An object cut off: what stands inside it is no answer.
            return None
        if isinstance(value, dict):
            return value
        start = text.find("{", start + 1)
    return None


def _choice(response: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else {}


def _message(response: Mapping[str, Any]) -> Mapping[str, Any]:
    message = _choice(response).get("message")
    return message if isinstance(message, Mapping) else {}
