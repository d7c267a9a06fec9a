"""A checkpoint's answers to many articles, whatever its kind; those of models are kept between runs.

A checkpoint made of others is composed anew from what its parts answered, so that a slow
expert reads an article once, whoever asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from distilled_filters.article import Article
from distilled_filters.errors import RecordError
from distilled_filters.filter import Filter
from distilled_filters.result import Status, TokenUse
from distilled_filters.scorers.base import SCREEN, Answer, Part, Reading, Scorer, Source, Tables
from distilled_filters.scorers.kinds import open_scorer
from distilled_filters.training.evaluate.measure import cache_folder

__all__ = ["kept_answers", "raw_answers"]

FloatArray = npt.NDArray[np.float64]

_UNREAD = TokenUse(total=0, read=0, truncated=False)


def kept_answers(each: Filter, articles: Sequence[Article], label: str, cache: Path | None = None) -> list[Answer]:
    """Return a filter's answers, (n,); what it cannot read is out of scope.

    Every answer of a model is kept as it comes, so that a stopped run goes on where it was.

    Args:
        each: The filter on the checkpoint that is asked.
        articles: What it is asked.
        label: What the progress bar says.
        cache: Where answers are kept, by weights, window and precision; `cache_folder()` by default.
    """
    folder = cache or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    nothing = [0.0] * len(each.spec.dimensions)
    answers = []
    with ExitStack() as files:
        scorer = open_scorer(each.source, lambda source: files.enter_context(_keeping(source, folder)))
        for article in tqdm(articles, desc=label, unit="article", disable=None):
            try:
                answers.append(scorer(Reading(article)))
            except RecordError:
                answers.append(Answer(nothing, SCREEN, _UNREAD, scorer.tables))
    return answers


def raw_answers(each: Filter, articles: Sequence[Article], label: str, cache: Path | None = None) -> FloatArray:
    """Return a filter's uncalibrated dimensions, (n, d), 0-10, as `kept_answers` does."""
    rows = [answer.raw for answer in kept_answers(each, articles, label, cache)]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(each.spec.dimensions))


class _Kept:
    """A scorer that opens its weights for the first article it has no answer to, and keeps what they say."""

    def __init__(self, source: Source, tables: Tables, known: dict[str, Any], file: TextIO) -> None:
        self.tables = tables
        self._source, self._known, self._file = source, known, file
        self._opened: Scorer | None = None

    def __call__(self, reading: Reading) -> Answer:
        text = f"{reading.article.title}\n{reading.article.content}"
        key = hashlib.sha256(text.encode(errors="replace")).hexdigest()
        if key not in self._known:
            self._known[key] = self._ask(reading)
            self._file.write(json.dumps([key, self._known[key]]) + "\n")
            self._file.flush()
        kept = self._known[key]
        if "refused" in kept:
            raise RecordError(Status(kept["refused"]), "as it was refused when it was read first")
        return Answer(kept["raw"], kept["stage"], TokenUse(**kept["tokens"]), self.tables)

    def _ask(self, reading: Reading) -> dict[str, Any]:
        self._opened = self._opened or open_scorer(self._source)
        try:
            answer = self._opened(reading)
        except RecordError as error:
            return {"refused": error.status.value}
        tokens = {"total": answer.tokens.total, "read": answer.tokens.read, "truncated": answer.tokens.truncated}
        return {"raw": list(answer.raw), "stage": answer.stage, "tokens": tokens}

    def close(self) -> None:
        if self._opened:
            self._opened.close()


def _precision(source: Source, part: Part) -> str | None:
    """Return what a language model computes in here; other kinds have no choice."""
    if part.weights.kind != "lora":
        return None
    # With torch, which other kinds do without.
    from distilled_filters.scorers.placement import place

    return place(source.device, source.precision).precision


@contextmanager
def _keeping(source: Source, folder: Path) -> Iterator[Scorer]:
    (part,) = source.parts
    read = part.weights.reads(source.spec.preprocessing)
    screen = part.weights.model_dump(include={"screen_below"})
    # What answers depend on beside the article: weights, what of it is read, what ends early, and precision.
    said = f"{part.weights.digest} {read!r} {screen} {_precision(source, part)}"
    path = folder / f"{hashlib.sha256(said.encode()).hexdigest()}.jsonl"
    known: dict[str, Any] = {}
    whole = 0
    if path.exists():
        with path.open("rb") as lines:
            for line in lines:
                # What a kill left half written is worked out again.
                if not line.endswith(b"\n"):
                    break
                key, kept = json.loads(line)
                known[key], whole = kept, whole + len(line)
    with path.open("a", encoding="utf-8") as file:
        file.truncate(whole)
        scorer = _Kept(source, source.tables(part.weights, source.files()), known, file)
        try:
            yield scorer
        finally:
            scorer.close()
