"""Seeded articles that fill an encoder with exactly so many tokens, and filters that read all of them."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

from ours import opened, preprocessor
from plan import TOKENS, Settings, Text

from distilled_filters.article import Article
from distilled_filters.filter import Filter
from distilled_filters.registry import embedded_folder, newest_folders

__all__ = ["SEED", "WORDS", "articles", "copy_filters"]

SEED = 20240607
_TITLE_WORDS = 7
_SENTENCE_WORDS = 14
_VOCABULARY = """
the a of and in to for with from after before over under near by on at as its their new old first last many
few city river school hospital farm forest village council region coast island market road bridge harbour
library volunteers researchers teachers farmers engineers residents families students nurses fishermen
officials restored opened measured planted published rebuilt counted trained agreed reported funded reduced
doubled wetland biodiversity electricity vaccination scholarship cooperative apprenticeship infrastructure
neighbourhood photovoltaic transparency reforestation groundwater municipality evaluation percent year years
million people local public national clean safe shared independent careful steady documented
"""
WORDS = _VOCABULARY.split()


def copy_filters(target: Path) -> tuple[Filter, Settings]:
    """Copy the embedded filters into `target/shipped`, and with a window that fills the encoder into `target/full`.

    The copies have no screen: articles of random words would all end early.

    Returns one of the full copies, and what was found out about the filters on the way.
    """
    source, shipped, full = embedded_folder(), target / "shipped", target / "full"
    for copy in (shipped, full):
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("backbones"))
        (copy / "backbones").symlink_to(source / "backbones", target_is_directory=True)
        for folder in newest_folders(copy):
            _replace(folder / "filter.toml", r"(?m)^screen_below = .*\n", "")
    first = Filter(newest_folders(shipped)[0])
    window, most = preprocessor(first).window_tokens, opened(first)[0].max_tokens
    head = first.spec.preprocessing.head_tokens + most - window
    folders = newest_folders(full)
    for folder in folders:
        _replace(folder / "filter.toml", r"(?m)^head_tokens = .*$", f"head_tokens = {head}")
    settings = Settings(threads=0, encoder="", filters=len(folders), window=window, max_tokens=most)
    return Filter(folders[0]), settings


def _replace(path: Path, pattern: str, replacement: str) -> None:
    path.write_text(re.sub(pattern, replacement, path.read_text("utf-8")), "utf-8")


def articles(full: Filter, count: int) -> dict[int, list[Text]]:
    """Return `count` articles for each of `TOKENS`, checked against what a full window really reads."""
    cut, rng = preprocessor(full), random.Random(SEED)
    costs = _costs(full)
    probe = cut(Article(content=" ".join(WORDS)))
    extra = len(probe.ids) - probe.tokens.total
    made = {tokens: [_article(tokens, extra, costs, rng) for _ in range(count)] for tokens in TOKENS}
    for tokens, texts in made.items():
        for text in texts:
            read = cut(Article(text["title"], text["content"]))
            if len(read.ids) != tokens or read.tokens.truncated:
                raise AssertionError(f"an article for {tokens} tokens has {len(read.ids)}: {text['content']!r}")
    return made


def _costs(filter_: Filter) -> dict[str, int]:
    tokenizer = opened(filter_)[1]
    words = [*WORDS, *(f"{word}." for word in WORDS)]
    return {word: len(tokenizer.encode(word, add_special_tokens=False).ids) for word in words}


def _article(tokens: int, extra: int, costs: dict[str, int], rng: random.Random) -> Text:
    words: list[str] = []
    left = tokens - extra
    while left:
        body = len(words) - _TITLE_WORDS
        stop = "." if left > 1 and body > 0 and body % _SENTENCE_WORDS == 0 else ""
        word = rng.choice([word for word in WORDS if costs[word + stop] <= left]) + stop
        words.append(word)
        left -= costs[word]
    return Text(title=" ".join(words[:_TITLE_WORDS]), content=" ".join(words[_TITLE_WORDS:]), tokens=tokens)
