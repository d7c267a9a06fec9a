"""What the writer is asked: an article that deserves certain scores, in one language, told by nobody else."""

from __future__ import annotations

import random
from collections.abc import Mapping

from pydantic import BaseModel, Field

from distilled_filters.training.oracle.client import Question
from distilled_filters.training.oracle.prompt import Prompt
from distilled_filters.training.synthesize.gaps import LOOK_ALIKE, Wish

__all__ = ["LANGUAGES", "Written", "question"]

LANGUAGES: Mapping[str, str] = {
    "en": "English", "nl": "Dutch", "es": "Spanish", "pt": "Portuguese", "de": "German", "fr": "French", "it": "Italian"
}  # fmt: skip

# Without a setting of its own every article would be the model's favourite one.
_FORMS = (
    "a short news agency report", "a feature in a regional newspaper", "an interview", "an organisation's blog post",
    "a specialist magazine's article", "a press release as a newspaper prints it", "a reporter's notebook",
    "an explanatory article with figures", "a local radio station's web story", "a column that tells of one case",
)  # fmt: skip
_PLACES = (
    "a fishing port", "a mountain valley", "the outskirts of a large city", "a river delta", "an industrial town",
    "an island", "a farming district", "a university town", "a border region", "a former mining village",
    "a housing estate", "a national capital",
)  # fmt: skip
_ACTORS = (
    "a municipality", "a school", "a cooperative", "volunteers", "a company", "a ministry", "researchers", "a court",
    "a union", "neighbours", "a hospital", "an engineer", "a farmer", "a court of auditors",
)  # fmt: skip
_WORDS = ((150, 250), (250, 400), (400, 650))
_FEWEST_WORDS = 100

_TASK = """You write realistic news and blog articles that serve to teach a small model the judgement described below. \
Everything in them is invented: places, people, organisations, figures. Never retell a real article.

Write {form} in {language}, set in {place}, in which {actor} has a part, of {least} to {most} words. Write as the \
press of that language does, with names and details of its own. Do not name the lens, its dimensions or any score, and \
do not argue for a judgement: the facts alone must earn it.

{kind}

A fair judge who follows the rules below must give it these scores, from 0 to 10:

{scores}

Answer with one JSON object: `title` and `content`.

# The rules of the judge

{rules}"""

_KINDS = (
    "It belongs to the lens: strong where the scores are high, and silent or weak where they are low.",
    "It is a look-alike: it shares topic, words and tone with articles that belong to the lens, and yet what the rules "
    "ask for is missing or does not hold. A careless reader would take it for one of them.",
)


class Written(BaseModel):
    """An article as the writer gives it."""

    title: str = Field(min_length=5, max_length=300)
    content: str = Field(min_length=200, max_length=20_000)


def question(prompt: Prompt, wish: Wish, seed: int) -> Question[Written]:
    """Return the question that asks for one article; the same wish and seed ask the same."""
    lens, chance = prompt.lens, random.Random(f"{seed} {wish.number} {wish.kind} {wish.language}")
    least, most = chance.choice(_WORDS)
    text = _TASK.format(
        form=chance.choice(_FORMS), language=LANGUAGES.get(wish.language, wish.language), place=chance.choice(_PLACES),
        actor=chance.choice(_ACTORS), least=least, most=most, kind=_KINDS[wish.kind == LOOK_ALIKE],
        scores="\n".join(
            f"- {each.name} ({each.question}): {score}"
            for each, score in zip(lens.dimensions, wish.scores, strict=True)
        ),
        rules=prompt.template,
    )  # fmt: skip
    return Question(
        messages=[{"role": "user", "content": text}], schema=Written, check=_problem, sample=f"{seed}.{wish.number}",
        note={"wish": wish.number, "kind": wish.kind, "language": wish.language},
    )  # fmt: skip


def _problem(written: Written) -> str | None:
    words = len(written.content.split())
    return f"the article has {words} words; write it out" if words < _FEWEST_WORDS else None
