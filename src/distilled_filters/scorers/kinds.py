"""The one table of the kinds of checkpoints: what opens each."""

from __future__ import annotations

import importlib

from distilled_filters.scorers.base import Scorer, Source

__all__ = ["open_scorer"]

# The modules of this package whose `open_checkpoint` opens a kind; one is imported when its kind is used.
_MODULES = {"zero_inflated_linear": "linear", "lora": "lora", "merged": "merged"}


def open_scorer(source: Source) -> Scorer:
    """Open a checkpoint of whatever kind.

    Raises:
        CheckpointError: when a file is missing, damaged, or made for other weights.
        SpecError: when the window is longer than the model reads.
        DistilledFiltersError: when the kind needs an extra that is not installed.
    """
    module = importlib.import_module(f"{__package__}.{_MODULES[source.weights.kind]}")
    scorer: Scorer = module.open_checkpoint(source, source.weights)
    return scorer
