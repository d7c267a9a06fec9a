"""What `score.py` compares and how often: plain data, shared by the parent and its workers."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Literal, TypedDict

__all__ = [
    "MODES",
    "TOKENS",
    "VARIANTS",
    "Effort",
    "Mode",
    "Reply",
    "Settings",
    "Text",
    "Variant",
    "installed_gigabytes",
    "peak_bytes",
]

# What the encoder reads, special tokens and the "query:" prefix included.
TOKENS = (40, 128, 256, 512)

Mode = Literal["single", "bulk"]
MODES: tuple[Mode, ...] = ("single", "bulk")


class Text(TypedDict):
    """An article, with the number of tokens an encoder reads of it when it reads all."""

    title: str
    content: str
    tokens: int


class Settings(TypedDict):
    """What a worker needs to know beside its variant; sizes in tokens."""

    threads: int
    encoder: str
    filters: int
    window: int
    max_tokens: int


class Reply(TypedDict):
    """A worker's answer; `shared_*` is what further models in one process would not pay again."""

    seconds: list[float]
    value: int | None
    load_s: float
    shared_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class Effort:
    """How much one variant is measured: `calls` singles and one bulk pass a round, and `starts` fresh processes."""

    rounds: int
    calls: int
    bulk: int
    starts: int


@dataclass(frozen=True)
class Variant:
    """One thing that scores articles.

    `full` reads whole articles where the shipped filters read a window; `each_filter`
    needs a model a filter, of which one is run and multiplied; `needs` are the
    distributions, and `gigabytes` the memory, without which it is skipped.
    """

    key: str
    label: str
    modes: dict[Mode, str]
    effort: Effort
    quick: Effort
    full: bool = False
    each_filter: bool = False
    needs: tuple[str, ...] = ()
    gigabytes: int = 0


_OURS: dict[Mode, str] = {"single": "score", "bulk": "score_batch"}
_MUCH, _LITTLE = Effort(rounds=5, calls=20, bulk=48, starts=3), Effort(rounds=2, calls=5, bulk=16, starts=1)

VARIANTS = (
    Variant("one", "one filter", _OURS, _MUCH, _LITTLE),
    Variant("all", "all {filters} filters", _OURS, _MUCH, _LITTLE),
    Variant("one_full", "one filter, full window", _OURS, _MUCH, _LITTLE, full=True),
    Variant("all_full", "all {filters} filters, full window", _OURS, _MUCH, _LITTLE, full=True),
    Variant(
        key="sentence_transformers",
        label="sentence-transformers, {filters} heads",
        modes={"single": "batch 1", "bulk": "batch 32"},
        effort=Effort(rounds=5, calls=20, bulk=48, starts=2),
        quick=Effort(rounds=2, calls=3, bulk=32, starts=1),
        needs=("torch", "transformers", "sentence-transformers"),
    ),
    Variant(
        key="decoder",
        label="{filters} decoders of 1B",
        modes={"single": "batch 1", "bulk": "batch 4"},
        effort=Effort(rounds=2, calls=1, bulk=4, starts=1),
        quick=Effort(rounds=1, calls=1, bulk=0, starts=1),
        each_filter=True,
        needs=("torch", "transformers"),
        gigabytes=10,
    ),
)


def peak_bytes() -> int:
    """Return the most memory this process has had resident."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes here, macOS bytes.
    return peak if sys.platform == "darwin" else peak * 1024


def installed_gigabytes() -> float:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
