"""How many articles a second all filters score together on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from distilled_filters.article import Article
from distilled_filters.errors import RecordError
from distilled_filters.filter import Filter
from distilled_filters.panel import Panel
from distilled_filters.scorers.base import Reading, Scorer
from distilled_filters.threads import thread_count
from distilled_filters.training.data import Example
from distilled_filters.training.evaluate.baselines import as_article
from distilled_filters.training.machine import machine

__all__ = ["measure_speed", "seconds_an_article"]

_FULL_WINDOW_TOKENS = 512
_WARM_UP = 16
_TIMED = 40


def measure_speed(filters: Sequence[Filter], examples: Sequence[Example]) -> dict[str, Any]:
    """Time all filters together, from text to scores, on real articles at their own lengths.

    The second row takes the articles of 512 tokens and more: as many as fill the
    encoder's longest window, whatever part of them the filters read.
    """
    threads = thread_count()
    panel = Panel(filters, threads=threads).load()
    real = [example for example in examples if example.stratum != "synthetic"]
    long = [example for example in real if example.window.tokens.total >= _FULL_WINDOW_TOKENS]
    panel.score_batch([as_article(example) for example in real[:_WARM_UP]])
    return {
        "threads": threads,
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "rows": [
            _row(panel, label, part)
            for label, part in (("mixed lengths", real), (f"{_FULL_WINDOW_TOKENS} tokens and more", long))
            if part
        ],
    }


def _row(panel: Panel, label: str, examples: Sequence[Example]) -> dict[str, Any]:
    articles = [as_article(example) for example in examples]
    start = time.perf_counter()
    for _ in panel.score_iter(articles):
        pass
    seconds = time.perf_counter() - start
    return {
        "articles": label,
        "n": len(articles),
        "mean_tokens": sum(example.window.tokens.total for example in examples) / len(examples),
        "mean_tokens_read": sum(example.window.tokens.read for example in examples) / len(examples),
        "seconds": seconds,
        "articles_per_second": len(articles) / seconds,
    }


def seconds_an_article(each: Filter, articles: Sequence[Article]) -> float:
    """Time one filter on its own, one article after another, on a few evenly spaced ones.

    The weights are opened for it, and given back.
    """
    sample = articles[:: -(-len(articles) // _TIMED)]
    scorer = each.load().scorer
    for article in sample[:2]:
        _answered(scorer, article)
    started = time.perf_counter()
    for article in sample:
        _answered(scorer, article)
    seconds = (time.perf_counter() - started) / len(sample)
    each.unload()
    return seconds


def _answered(scorer: Scorer, article: Article) -> None:
    with suppress(RecordError):  # what is refused took its time as well
        scorer(Reading(article))
