"""From a lens and an article to the question an oracle is asked, and what makes its answer good."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, create_model

from distilled_filters.article import Article
from distilled_filters.preprocess import readable
from distilled_filters.spec import LensSpec
from distilled_filters.training.oracle.client import Question
from distilled_filters.training.oracle.quotes import missing_quotes
from distilled_filters.training.oracle.templates import read_template

__all__ = ["Judgement", "Prompt", "Shown", "answer_model", "judgement_of", "read_prompt"]

_PLACEHOLDER = re.compile(r"\{(title|content)\}")
# The lowest range of every scale says that there is nothing; from above it on an answer needs a quote.
_NOTHING = 2.0


class Mark(BaseModel):
    """The oracle's answer to one dimension."""

    score: float = Field(ge=0, le=10)
    evidence: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What of an article the oracle is shown, and a SHA-256 of it."""

    title: str
    content: str
    sha256: str

    @property
    def text(self) -> str:
        """Title and content, where quotes must be found."""
        return f"{self.title}\n{self.content}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """An oracle's reading of one article: scores 0-10 in the spec's order, and a quote for each, maybe empty."""

    in_scope: bool
    scores: tuple[float, ...]
    quotes: tuple[str, ...]


@dataclass(frozen=True)
class Prompt:
    """A lens and the words in which oracles are asked about it."""

    lens: LensSpec
    template: str

    def show(self, article: Article) -> Shown:
        """Clean an article as the student's preprocessor does, and cut it as the spec says.

        Raises:
            RecordError: for what no student would score either.
        """
        title, body = readable(article, self.lens.preprocessing)
        words, reads = body.split(), self.lens.oracle
        if len(words) > reads.head_words + reads.tail_words:
            words = [*words[: reads.head_words], self.lens.preprocessing.separator, *words[-reads.tail_words :]]
        content = " ".join(words)
        return Shown(title, content, hashlib.sha256(f"{title}\n{content}".encode()).hexdigest())

    def render(self, shown: Shown) -> str:
        """Return the prompt with the article in it."""
        parts = {"title": shown.title, "content": shown.content}
        # In one pass, so that an article that speaks of {content} stays as it is.
        return _PLACEHOLDER.sub(lambda match: parts[match[1]], self.template)

    def question(self, shown: Shown, *, sample: str = "1", strict: bool = True, **note: Any) -> Question[BaseModel]:
        """Return the question whether and how far an article belongs to the lens.

        With `strict` an answer must quote the article verbatim.
        """
        return Question(
            messages=[{"role": "user", "content": self.render(shown)}],
            schema=answer_model(self.lens.dimension_names),
            check=lambda answer: self.problem(answer, shown, strict=strict),
            sample=sample,
            note={"prompt_sha256": self.lens.prompt_sha256, "content_sha256": shown.sha256, **note},
        )

    def problem(self, answer: BaseModel, shown: Shown, *, strict: bool) -> str | None:
        """Say what is wrong with an answer of the right form, in words for the model; None where nothing is."""
        judged = judgement_of(answer)
        marks = list(zip(self.lens.dimension_names, judged.scores, judged.quotes, strict=True))
        if not judged.in_scope and any(judged.scores):
            return "in_scope is false, so every score must be 0; or the article is in scope"
        if not strict:
            return None
        if absent := missing_quotes(marks, shown.text):
            listed = "; ".join(f"{name}: {quote!r}" for name, quote in absent)
            return f"these quotes do not stand in the article word for word: {listed}"
        if bare := [name for name, score, quote in marks if score > _NOTHING and not quote.strip()]:
            return f"no quote from the article bears out the score of {', '.join(bare)}; quote it, or lower the score"
        return None


def read_prompt(folder: Path) -> Prompt:
    """Read the prompt of a filter's folder.

    Raises:
        SpecError: naming what does not fit between spec and prompt, and the mend.
    """
    return Prompt(*read_template(folder))


@functools.cache
def answer_model(dimensions: tuple[str, ...]) -> type[BaseModel]:
    """Return the form of an answer: `in_scope`, and a score and a quote for every dimension."""
    # Aliases, because a dimension may be called like a method of the model.
    fields: dict[str, Any] = {f"d{number}": (Mark, Field(alias=name)) for number, name in enumerate(dimensions)}
    marks = create_model("Dimensions", **fields)
    return create_model("Judgement", in_scope=(bool, ...), dimensions=(marks, ...))


def judgement_of(answer: BaseModel) -> Judgement:
    """Return what an answer of `answer_model` says."""
    parts: Any = answer
    marks = [getattr(parts.dimensions, name) for name in type(parts.dimensions).model_fields]
    return Judgement(parts.in_scope, tuple(mark.score for mark in marks), tuple(mark.evidence for mark in marks))
