"""What no file can tell: a short questionnaire, its answers, and what the need behind a filter calls for."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distilled_filters.errors import SettingError
from distilled_filters.files import write_json, write_text
from distilled_filters.spec import problems_of

__all__ = ["GUIDE", "QUESTIONS", "Advice", "Answers", "Need", "read_answers", "write_answers"]


class Need(StrEnum):
    """What a prompted language model leaves to be desired."""

    FORMAT = "format"
    STYLE = "style"
    KNOWLEDGE = "knowledge"
    LATENCY = "latency"
    COST = "cost"
    CLASSIFICATION = "classification"
    OTHER = "other"


@dataclass(frozen=True)
class Advice:
    """What helps against a need, and whether that is training a student."""

    symptom: str
    remedy: str
    trains: bool


GUIDE = {
    Need.FORMAT: Advice("answers have the wrong shape", "structured output: a JSON schema in the request", False),
    Need.STYLE: Advice("answers have the wrong tone", "few-shot: three to five examples in the prompt", False),
    Need.KNOWLEDGE: Advice("answers lack facts", "retrieval: put the documents beside the question", False),
    Need.LATENCY: Advice("answers take too long", "distil: a small student learns the large model's answers", True),
    Need.COST: Advice("answers cost too much at this volume", "distil: a student costs next to nothing a call", True),
    Need.CLASSIFICATION: Advice("the same judgement, again and again", "fine-tune: a head on an encoder", True),
    Need.OTHER: Advice("something else", "better prompts: scope, anchors, examples of look-alikes", False),
}  # fmt: skip
"""In the order in which to ask: what is cheaper to mend comes first."""

_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Answers(BaseModel):
    """Everything that can be answered; what is left out gives no point."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    need: Annotated[Need | None, Field(description="What is wrong with asking a language model every time?")] = None
    prompt_works: Annotated[
        bool | None,
        Field(description="Does a prompted model do the task well, on at least 100 articles you looked at?"),
    ] = None
    articles_per_day: Annotated[_Amount | None, Field(description="How many articles a day will be scored?")] = None
    stable: Annotated[bool | None, Field(description="Will the question stay as it is for half a year?")] = None
    success: Annotated[bool | None, Field(description="Is it written down which figures would be good enough?")] = None
    personal_data_settled: Annotated[
        bool | None,
        Field(description="May the personal data that is in the articles stay there (public press contacts, say)?"),
    ] = None
    reviewed_share: Annotated[
        Annotated[float, Field(ge=0, le=1)] | None,
        Field(description="Which share of the labels has an expert looked at, 0 to 1?"),
    ] = None
    labelling_usd: Annotated[
        _Amount | None, Field(description="What do all labels cost, in USD, people's time included?")
    ] = None
    training_usd: Annotated[
        _Amount | None, Field(description="What do training and its failed attempts cost, in USD?")
    ] = None
    oracle_usd_per_1000: Annotated[
        _Amount | None, Field(description="What does the oracle cost for 1,000 articles, in USD?")
    ] = None
    student_usd_per_1000: Annotated[
        _Amount | None, Field(description="What will the student cost for 1,000 articles, in USD?")
    ] = None
    upkeep: Annotated[bool | None, Field(description="Is there money and time to label and train again in a year?")] = (
        None
    )
    drift: Annotated[bool | None, Field(description="Will anybody see when scores or articles drift?")] = None
    feedback: Annotated[bool | None, Field(description="Can readers or editors say that a score is wrong?")] = None
    retrain_when: Annotated[
        bool | None, Field(description="Is it written down when to label again and train again?")
    ] = None
    owner: Annotated[
        bool | None, Field(description="Does somebody own the filter, and know how to go back a version?")
    ] = None


QUESTIONS = {name: field.description or "" for name, field in Answers.model_fields.items()}
"""Each question by its key, in the order of asking."""


def read_answers(path: Path) -> Answers:
    """Read a TOML or, where its name ends in `.json`, a JSON file of answers.

    Raises:
        SettingError: naming the file, the key, the value and what it may be.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return Answers.model_validate(document)
    except FileNotFoundError as error:
        raise SettingError(f"there is no file {path}; `--questionnaire --answers {path}` asks and writes it") from error
    except ValidationError as error:
        raise SettingError(f"{path}: {problems_of(error)}; the keys are {', '.join(QUESTIONS)}") from error
    except ValueError as error:
        raise SettingError(f"{path}: neither readable TOML nor, with a name in .json, JSON: {error}") from error


def write_answers(path: Path, answers: Answers) -> None:
    """Write answers as `read_answers` reads them, each TOML key under its question."""
    given = answers.model_dump(mode="json", exclude_none=True)
    if path.suffix == ".json":
        write_json(path, given)
        return
    document = tomlkit.document()
    for key, value in given.items():
        document.add(tomlkit.comment(QUESTIONS[key]))
        document.add(key, value)
    write_text(path, tomlkit.dumps(document))
