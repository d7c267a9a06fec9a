"""The row shape that the news app NexusMind stores: `<filter>_analysis` beside an article's `id`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from distilled_filters.scorers.base import SCREEN
from distilled_filters.status import Status

__all__ = ["nexusmind_row"]


def nexusmind_row(scores: Mapping[str, Mapping[str, Any]], calibrated: Collection[str]) -> dict[str, Any]:
    """Return one article's row, from `Score.to_dict()` of each filter; `calibrated` names those with tables.

    What NexusMind knows as its prefilter are here the refusals (`too_short`, `no_content` ...)
    and the screen: `prefilter_reason` is the status, or `screen`. A screened article has
    numbers all the same; a refused one has none.
    """
    row: dict[str, Any] = {"id": next((score["id"] for score in scores.values()), None)}
    for name, score in scores.items():
        row[f"{name}_analysis"] = _analysis(score, name in calibrated)
    return row


def _analysis(score: Mapping[str, Any], calibrated: bool) -> dict[str, Any]:
    scored = score["status"] == Status.OK
    reason = (SCREEN if score["stage"] == SCREEN else None) if scored else str(score["status"])
    return {
        "version": score["version"],
        "scores": score["dimensions"],
        "weighted_average": score["weighted_average"],
        "raw_weighted_average": score["raw_weighted_average"],
        "normalization_method": ("isotonic" if calibrated else "none") if scored else None,
        "tier": score["tier"],
        "gatekeeper_applied": bool(score["gate_applied"]),
        "passed_prefilter": reason is None,
        "prefilter_reason": reason,
    }
