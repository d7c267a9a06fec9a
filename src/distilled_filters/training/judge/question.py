"""What the judge is asked: an article, two judgements without names in random order, and its own."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from distilled_filters.article import Article
from distilled_filters.training.judge.cases import Case
from distilled_filters.training.oracle.client import Question
from distilled_filters.training.oracle.prompt import Prompt

__all__ = ["ARTICLE", "Opinion", "opinion_of", "question"]

ARTICLE = Literal["sound", "unfit"]

_TASK = """## Two judgements

Two judges have scored this article under the rules above. Nobody knows which of them is right; it may be one, the \
other, both or neither.

Judgement A: {first}

Judgement B: {second}

First give your own score for every dimension. Then say how well each judgement fits the article, from 0 (plainly \
wrong) to 10 (exactly right), and give one sentence as the reason. `article` is "unfit" where no fair reader could \
score it at all, because it is cut off, garbled, several articles in one, or a page without an article; otherwise \
"sound".

Answer in this form, and not in the one asked for above."""

# A student's decimals would give it away: oracles score in such steps.
_STEP = 0.5


@dataclass(frozen=True)
class Opinion:
    """What the judge said: its own scores (d,), 0-10, and how well the two judgements fit, 0-10."""

    scores: list[float]
    student: float
    oracle: float
    article: str
    reason: str


def question(prompt: Prompt, case: Case) -> Question[BaseModel]:
    """Return the question about a case; who is A is drawn from the article, so that it stays the same.

    Raises:
        RecordError: when the article cannot be shown.
    """
    shown = prompt.show(Article.parse(case.row))
    names = prompt.lens.dimension_names
    first, second = (case.student, case.oracle) if _student_is_first(case) else (case.oracle, case.student)
    task = _TASK.format(first=_anonymous(names, first), second=_anonymous(names, second))
    return Question(
        messages=[{"role": "user", "content": f"{prompt.render(shown)}\n\n{task}"}],
        schema=_form(names),
        sample="judge",
        note={"id": case.row["id"], "prompt_sha256": prompt.lens.prompt_sha256, "content_sha256": shown.sha256},
    )


def opinion_of(answer: BaseModel, case: Case) -> Opinion:
    """Return an answer with its sides named again."""
    given: Any = answer
    sides = (given.a, given.b) if _student_is_first(case) else (given.b, given.a)
    scores = [getattr(given.dimensions, field) for field in type(given.dimensions).model_fields]
    return Opinion(scores, *sides, given.article, given.reason)


def _student_is_first(case: Case) -> bool:
    return random.Random(f"{case.row['id']}").random() < 0.5


def _anonymous(names: Sequence[str], scores: Sequence[float]) -> str:
    return json.dumps({name: round(score / _STEP) * _STEP for name, score in zip(names, scores, strict=True)})


@functools.cache
def _form(names: tuple[str, ...]) -> type[BaseModel]:
    score = (float, Field(ge=0, le=10))
    # Aliases, because a dimension may be called like a method of the model.
    fields: dict[str, Any] = {
        f"d{number}": (float, Field(alias=name, ge=0, le=10)) for number, name in enumerate(names)
    }
    return create_model(
        "Opinion", dimensions=(create_model("Scores", **fields), ...), a=score, b=score, article=(ARTICLE, ...),
        reason=(str, Field(max_length=1000)),
    )  # fmt: skip
