"""Finished runs side by side: what differs between their recipes, and what they reached on validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distilled_filters.training.recipe import Recipe
from distilled_filters.training.record import Run

__all__ = ["Compared", "compare"]


@dataclass(frozen=True)
class Compared:
    """One run among others.

    `differs` holds the recipe's fields that are not the same in all of them; the figures
    are those of the best step, on the validation split.
    """

    run: str
    differs: dict[str, Any]
    ranking: float
    medium_ap: float
    scope_ap: float
    validation_loss: float
    best_step: int
    steps: int
    minutes: float


def compare(runs: Sequence[Run]) -> list[Compared]:
    """Return runs by their ranking on validation, best first.

    Average precisions can always be compared; losses only where `regression` and
    `ranking` are the same.
    """
    defaults = Recipe().model_dump(mode="json")
    # Experts have settings that encoders lack.
    defaults |= {key: None for run in runs for key in run.recipe if key not in defaults}
    recipes = [{**defaults, **run.recipe} for run in runs]
    for recipe in recipes:
        if recipe["teacher"] is None:
            recipe["distil_weight"] = None
    differing = [key for key in recipes[0] if any(recipe[key] != recipes[0][key] for recipe in recipes)]
    found = [
        Compared(
            run=str(run.folder),
            differs={key: recipe[key] for key in differing},
            ranking=run.best["eval_ranking"],
            medium_ap=run.best["eval_medium_ap"],
            scope_ap=run.best["eval_scope_ap"],
            validation_loss=run.best["eval_loss"],
            best_step=run.best["step"],
            steps=run.history[-1]["step"],
            minutes=_minutes(run),
        )
        for run, recipe in zip(runs, recipes, strict=True)
    ]
    return sorted(found, key=lambda each: each.ranking, reverse=True)


def _minutes(run: Run) -> float:
    last = run.history[-1]
    # Before runs counted minutes over interruptions, the Trainer's summary had the last stretch's seconds.
    return float(last.get("minutes", last.get("train_runtime", 0) / 60))
