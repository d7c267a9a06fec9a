"""A list of questions to one oracle: the folder they are asked in, and their answers in the order asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from distilled_filters.errors import SettingError
from distilled_filters.files import write_json
from distilled_filters.spec import LensSpec
from distilled_filters.training.oracle.calls import is_begun
from distilled_filters.training.oracle.client import Oracle, Question, Reply, each
from distilled_filters.training.oracle.costs import Progress
from distilled_filters.training.oracle.errors import AnswerError, OracleStoppedError

__all__ = ["ask_all", "claim", "failures_of"]

_JOB_FILE = "job.json"

M = TypeVar("M", bound=BaseModel)


def claim(output: Path, command: str, lens: LensSpec) -> None:
    """Make a job's folder its own, or take it up: its journal says what was paid, and a budget is for one job.

    Raises:
        SettingError: when the folder holds other work.
    """
    path, identity = output / _JOB_FILE, {"command": command, "filter": lens.name, "prompt_sha256": lens.prompt_sha256}
    earlier = json.loads(path.read_text("utf-8")) if path.is_file() else None
    if earlier and not is_begun(output / "raw"):
        earlier = identity
    if (earlier or identity) != identity or (earlier is None and output.is_dir() and any(output.iterdir())):
        held = (
            f"a {earlier['command']} of {earlier['filter']}, perhaps under another prompt" if earlier else "other files"
        )
        raise SettingError(f"{output} holds {held}; choose another --output for this {command} of {lens.name}")
    output.mkdir(parents=True, exist_ok=True)
    write_json(path, identity)


async def ask_all(
    oracle: Oracle, questions: Sequence[Question[M]], progress: Progress
) -> tuple[list[M | AnswerError | None], OracleStoppedError | None]:
    """Ask every question once; return its answer, its error, or None where it was not asked, and what ended the job.

    The oracle is closed afterwards.
    """
    answers: list[M | AnswerError | None] = [None] * len(questions)

    async def ask(place: int) -> Reply[M]:
        return await oracle.answer(questions[place])

    async with oracle:
        try:
            async for place, result in each(ask, range(len(questions)), oracle.endpoint.concurrency):
                answers[place] = result if isinstance(result, AnswerError) else result.parsed
                progress(oracle.calls.spending(), not isinstance(result, AnswerError))
        except OracleStoppedError as error:
            return answers, error
    return answers, None


def failures_of(answers: Sequence[object]) -> dict[str, Any]:
    """Return what a report says of questions without an answer: how many by reason, and a message of each."""
    errors = [answer for answer in answers if isinstance(answer, AnswerError)]
    return {
        "failed": dict(Counter(error.problem.value for error in errors)),
        "messages": {error.problem.value: str(error) for error in reversed(errors)},
    }
