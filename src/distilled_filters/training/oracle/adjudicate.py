"""A third oracle decides where two disagree: it sees both readings without names, in random order."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from distilled_filters.training.oracle.client import Question
from distilled_filters.training.oracle.items import Item
from distilled_filters.training.oracle.prompt import Prompt

__all__ = ["adjudication"]

_TASK = """## Two readings

Two judges have read this article under the rules above and disagree. Nobody knows which of them is right; it may be \
one, the other, or neither. Weigh both against the article, dimension by dimension, and give your own judgement in \
the form asked for above.

Reading A:

{first}

Reading B:

{second}"""


def adjudication(
    prompt: Prompt, item: Item, sides: Sequence[Mapping[str, Any]], *, strict: bool
) -> Question[BaseModel]:
    """Return the question about an article that puts two readings, rows of `readings.jsonl`, side by side.

    The order is drawn from the article itself, so that the question asked again is the same.
    """
    order = sorted(sides, key=lambda row: str(row["oracle"]))
    random.Random(f"{item.shown.sha256} {[row['oracle'] for row in order]}").shuffle(order)
    first, second = (_anonymous(row) for row in order)
    asked = prompt.question(
        item.shown, sample="adjudication", strict=strict, id=item.id, adjudicates=[row["oracle"] for row in order]
    )
    content = f"{asked.messages[0]['content']}\n\n{_TASK.format(first=first, second=second)}"
    return replace(asked, messages=[{"role": "user", "content": content}])


def _anonymous(row: Mapping[str, Any]) -> str:
    marks = {
        name: {"score": round(score, 2), "evidence": row["evidence"][name]} for name, score in row["dimensions"].items()
    }
    return json.dumps({"in_scope": any(row["dimensions"].values()), "dimensions": marks}, ensure_ascii=False)
