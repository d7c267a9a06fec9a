"""The one table of the kinds of checkpoints: what opens each."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from distilled_filters.scorers.base import Scorer, Source

__all__ = ["open_parts", "open_scorer"]

# The modules of this package whose `open_checkpoint` opens a kind; one is imported when its kind is used.
_MODULES = {
    "zero_inflated_linear": "linear",
    "lora": "lora",
    "merged": "merged",
    "cascade": "cascade",
    "ensemble": "ensemble",
}


def open_scorer(source: Source, open_part: Callable[[Source], Scorer] | None = None) -> Scorer:
    """Open a checkpoint of whatever kind.

    Args:
        source: The checkpoint.
        open_part: What opens those with weights of their own; by default this function.

    Raises:
        CheckpointError: when a file is missing, damaged, or made for other weights.
        SpecError: when the window is longer than the model reads.
        DistilledFiltersError: when the kind needs an extra that is not installed.
    """
    weights = source.weights
    if open_part and not weights.parts:
        return open_part(source)
    module = importlib.import_module(f"{__package__}.{_MODULES[weights.kind]}")
    of_parts = (open_part or open_scorer,) if weights.parts else ()
    scorer: Scorer = module.open_checkpoint(source, weights, *of_parts)
    return scorer


def open_parts(source: Source, open_part: Callable[[Source], Scorer]) -> list[Scorer]:
    """Open what a checkpoint is made of: all of it, or nothing.

    All at once, and not when an article first needs a part: a missing file, a missing extra or
    too little memory is told when the filter is loaded, not in the middle of the night's articles.

    Raises:
        DistilledFiltersError: as opening them alone would.
    """
    opened: list[Scorer] = []
    try:
        for name in source.weights.parts:
            opened.append(open_part(source.of(name)))
    except BaseException:
        for scorer in opened:
            scorer.close()
        raise
    return opened
