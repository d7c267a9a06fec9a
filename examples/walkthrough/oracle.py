"""A stand-in for a language model, for one lens and one pool: `python -m examples.walkthrough.oracle --port 8123`.

It speaks OpenAI's protocol and judges by rote: it knows the sentences that the pool is made of, and what each is
worth. Of any other article it says that it is out of scope. It answers `distillery label`, `judge` and `synthesize`.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import re
import threading
from typing import Any

from examples.walkthrough.articles import DIMENSIONS, LANGUAGES, SENTENCES, Writer
from examples.walkthrough.server import Ask, ScriptedOracle

# What the four levels of a sentence are worth, and an announcement on every dimension (it is capped at 2).
_WORTH = (1.5, 4.0, 6.5, 8.5)
_ANNOUNCED = 1.5
_NAMES = {"en": "English", "nl": "Dutch", "es": "Spanish"}


def answer(ask: Ask) -> dict[str, Any]:
    """Answer a question by what it asks for."""
    text = str(ask.body["messages"][0]["content"])
    if "## Two judgements" in text:
        return _opinion(text)
    if text.startswith("You write"):
        return _written(text)
    return _judgement(text, random.Random(f"{ask.key} {text}"))


def _judgement(text: str, chance: random.Random) -> dict[str, Any]:
    """Score an article, half a point up or down now and then: two readings differ, as a model's do."""
    marks, in_scope = _marks(_article(text))
    for mark in marks.values():
        if in_scope:
            mark["score"] = min(10.0, max(0.5, mark["score"] + chance.choice((-0.5, 0.0, 0.0, 0.5))))
    return {"in_scope": in_scope, "dimensions": marks}


def _opinion(text: str) -> dict[str, Any]:
    """Say how well two judgements fit: ten, less two for every point that they are off in the mean."""
    marks, _ = _marks(_article(text))
    own = {name: mark["score"] for name, mark in marks.items()}
    fits = {}
    for side in "AB":
        found = re.search(rf"^Judgement {side}: (\{{.*\}})$", text, re.MULTILINE)
        given = json.loads(found[1]) if found else {}
        off = sum(abs(own[name] - given.get(name, 0.0)) for name in own) / len(own)
        fits[side.lower()] = round(max(0.0, 10 - 2 * off), 1)
    return {"dimensions": own, **fits, "article": "sound", "reason": "By the sentences of the pool."}


def _written(text: str) -> dict[str, Any]:
    """Write an article whose sentences are worth the scores asked for."""
    language = next((code for code in LANGUAGES if f" in {_NAMES[code]}," in text), "en")
    wanted = [float(found) for found in re.findall(r"^- \w+ \(.*\): ([\d.]+)$", text, re.MULTILINE)]
    levels = [min(range(4), key=lambda level: abs(_WORTH[level] - score)) for score in wanted[: len(DIMENSIONS)]]
    kind = "announced" if "It is a look-alike" in text else "inside"
    return Writer(language, random.Random(text)).article(kind, levels, filler=13)


def _article(text: str) -> str:
    return text.split("## Article", 1)[-1].split("## Two judgements", 1)[0]


def _marks(article: str) -> tuple[dict[str, dict[str, Any]], bool]:
    marks = {name: _mark(article, name) for name in DIMENSIONS}
    if any(mark["score"] for mark in marks.values()):
        return marks, True
    if any(_pattern(SENTENCES[code]["announced"][1]).search(article) for code in LANGUAGES):
        return {name: {"score": _ANNOUNCED, "evidence": ""} for name in DIMENSIONS}, True
    return marks, False


def _mark(article: str, dimension: str) -> dict[str, Any]:
    for code in LANGUAGES:
        for worth, sentences in zip(_WORTH, SENTENCES[code][dimension]["levels"], strict=True):
            for sentence in sentences:
                if found := _pattern(sentence).search(article):
                    return {"score": worth, "evidence": found[0]}
    return {"score": 0.0, "evidence": ""}


@functools.cache
def _pattern(sentence: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", r"[^.]+?", re.escape(sentence)))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=8123)
    port = options.parse_args().port
    try:
        server = ScriptedOracle(answer, port=port)
    except OSError as error:
        options.error(f"port {port}: {error.strerror}; is one running already? Choose another --port")
    with server:
        print(f"the scripted oracle answers at {server.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
