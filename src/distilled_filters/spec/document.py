"""Reading a spec: a strict TOML document, and its problems in an author's words."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distilled_filters.errors import SpecError

__all__ = [
    "LANGUAGE",
    "NAME_PATTERN",
    "FileRef",
    "HubSource",
    "Name",
    "OnScale",
    "Sha256",
    "Spec",
    "problems_of",
    "read",
    "unique",
]

NAME_PATTERN = r"[a-z][a-z0-9_]*"
LANGUAGE = r"^[a-z]{2,3}$"
Name = Annotated[str, Field(pattern=rf"^{NAME_PATTERN}$", max_length=64)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
OnScale = Annotated[float, Field(ge=0, le=10)]


class Spec(BaseModel):
    """What every table of a spec is: frozen, no unknown key, no value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileRef(Spec):
    """A file of a checkpoint: where it is, and which bytes it must have."""

    path: Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*/)?[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=128)]
    sha256: Sha256
    size: Annotated[int, Field(gt=0, description="bytes")]


class HubSource(Spec):
    """A Hugging Face Hub repository at one commit; files without one lie in the folder."""

    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="a full commit hash, never a branch")]


S = TypeVar("S", bound=Spec)


def read(path: Path, spec: type[S], ignored: frozenset[str] = frozenset()) -> S:
    """Read and check a document, but for the keys that are ignored.

    Raises:
        SpecError: naming the file, the key, the value and the rule.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return spec.model_validate(_tuples({key: value for key, value in document.items() if key not in ignored}))
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not readable TOML: {error}") from error
    except ValidationError as error:
        raise SpecError(f"{path}: {problems_of(error)}") from error


def problems_of(error: ValidationError) -> str:
    """Return what a document got wrong: each key, what is wrong with it, and its value."""
    return "; ".join(_problem(dict(item)) for item in error.errors())


def _problem(item: dict[str, object]) -> str:
    location = item["loc"] if isinstance(item["loc"], tuple) else ()
    if location[:1] == ("checkpoints",):
        # After a checkpoint's name pydantic puts its kind, which is no key.
        location = location[:2] + location[3:]
    key = ".".join(str(part) for part in location) or "(whole file)"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "unknown key; remove it or mend its spelling"
    elif item["type"] == "missing":
        message = "required key is missing"
        if key == "checkpoints":
            message += "; the filter is not trained yet: `distillery export` writes it"
    elif item["type"] != "value_error":
        message = _in_words(str(item["type"]), item.get("ctx"), message)
        if isinstance(item["input"], str | int | float):
            message += f", not {item['input']!r}"
    return f"{key}: {message}"


# pydantic's names of what can be wrong with a value, and what an author is told.
_RULES = {
    "greater_than": "must be more than {gt:g}", "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be less than {lt:g}", "less_than_equal": "must be {le:g} or less",
    "finite_number": "must be a finite number",
    "too_short": "must have at least {min_length} of them",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters", "string_type": "must be text",
    "string_pattern_mismatch": "must be of the form {pattern}", "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "int_type": "must be an integer", "int_parsing": "must be an integer",
    "int_from_float": "must be an integer", "float_type": "must be a number", "float_parsing": "must be a number",
    "bool_type": "must be true or false", "bool_parsing": "must be true or false",
    "tuple_type": "must be a list", "list_type": "must be a list", "dict_type": "must be a table",
    "model_type": "must be a table", "model_attributes_type": "must be a table",
}  # fmt: skip
_FORMS = {
    rf"^{NAME_PATTERN}$": "must be lower-case letters, digits and _, a letter first",
    LANGUAGE: "must be two or three lower-case letters such as en",
    r"^[0-9a-f]{64}$": "must be 64 hexadecimal digits",
}


def _in_words(kind: str, context: object, otherwise: str) -> str:
    """Return a rule of pydantic's in words for an author, its own words where there are none."""
    values = context if isinstance(context, dict) else {}
    if kind == "string_too_short" and values.get("min_length") == 1:
        return "must not be empty"
    rule = _RULES.get(kind)
    return _FORMS.get(values.get("pattern", "")) or (rule.format(**values) if rule else otherwise)


def _tuples(value: object) -> object:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def unique(kind: str, names: list[str]) -> None:
    """Refuse names that stand twice.

    Raises:
        ValueError: naming them.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{kind} {', '.join(map(repr, twice))} stands twice")
