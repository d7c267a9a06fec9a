"""Making a cascade: its route fitted on the validation split, its cost measured, its checkpoint written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilled_filters.errors import SettingError
from distilled_filters.files import write_json
from distilled_filters.filter import Filter
from distilled_filters.scorers.base import SCREEN
from distilled_filters.scorers.compositions import Route
from distilled_filters.spec import Expert
from distilled_filters.training.answers import kept_answers
from distilled_filters.training.beside import cost_of, having, judge_answers, labelled
from distilled_filters.training.data import Example, select
from distilled_filters.training.evaluate.baselines import as_article
from distilled_filters.training.folder import free_name, write_checkpoint
from distilled_filters.training.predict import linear
from distilled_filters.training.route import FOLDS, Band, Cases, Goal, GoalError, Measured, fit_route, held_out, routed

__all__ = ["MOST_COST", "FittedCascade", "fit_cascades"]

MOST_COST = 1 / 3
"""What a cascade may cost at most, as a part of its expert's cost."""


@dataclass(frozen=True)
class FittedCascade:
    """What was fitted for one filter; with a `problem`, nothing was written.

    `fitted` are figures on the articles that chose the ranges, `held_out` on articles that chose
    nothing; `cost` is what `cost_of` measured.
    """

    filter: str
    n: int
    ask: tuple[Band, ...] = ()
    fitted: Measured | None = None
    held_out: Measured | None = None
    cost: Measured | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return dict(vars(self))


def fit_cascades(
    data: Path,
    filters: Path,
    expert: str,
    *,
    student: str | None = None,
    name: str = "cascade",
    goal: Goal = Goal(),  # noqa: B008, frozen
    most_cost: float = MOST_COST,
    cache: Path | None = None,
) -> list[FittedCascade]:
    """Fit and write a cascade for every filter that has the expert.

    Args:
        data: A data folder; its validation split is used, and no other.
        filters: The `filters/` folder.
        expert: The LoRA checkpoint to be asked.
        student: The encoder student that asks; by default that of the default checkpoint.
        name: What the spec calls the cascade.
        goal: What it must keep of the expert.
        most_cost: What it may cost, as a part of the expert's cost.
        cache: Where answers are kept; see `kept_answers`.

    Raises:
        SettingError: when no filter has the expert, or the name is another checkpoint's.
    """
    return [_fit(data, each, student, name, goal, most_cost, cache) for each in having(filters, expert)]


def _fit(
    data: Path, each: Filter, asks: str | None, name: str, goal: Goal, most_cost: float, cache: Path | None
) -> FittedCascade:
    spec, expert = each.spec, each.checkpoint
    name = free_name(spec, name, "cascade")
    student = each.with_checkpoint(asks or Filter(each.folder).parts[0].checkpoint).checkpoint
    linear(each.with_checkpoint(student))
    if not isinstance(each.weights, Expert):
        raise SettingError(
            f"{each.name}: {expert} is {each.weights.kind}; a cascade's expert is a lora or merged checkpoint"
        )
    examples = select(labelled(data, each), "validation")
    articles = [as_article(example) for example in examples]
    asking, asked = (
        kept_answers(each.with_checkpoint(one), articles, f"{each.name}: {one}", cache) for one in (student, expert)
    )
    cases = Cases(
        student=judge_answers(asking, spec).averages,
        expert=judge_answers(asked, spec).averages,
        screened=np.array([answer.stage == SCREEN for answer in asking]),
        folds=np.array([_fold(example) for example in examples]),
    )
    try:
        if not (cases.expert >= spec.medium).any():
            raise GoalError(
                f"{expert} puts none of the {len(examples)} validation articles at medium or above, so that no recall "
                "can be fitted; label more articles, or train the expert longer"
            )
        ask = fit_route(cases, spec, goal)
        fitted, outside = routed(cases, ask, spec), held_out(cases, spec, goal)
    except GoalError as error:
        return FittedCascade(each.name, len(examples), problem=str(error))
    cost = cost_of(each, student, expert, fitted["expert_share"], articles)
    found = FittedCascade(each.name, len(examples), tuple(ask), fitted, outside, cost)
    if cost["cost"] > most_cost:
        problem = (
            f"a tier agreement of {goal.agreement:g} and a recall of {goal.recall:g} take {cost['cost']:.2f} of the "
            f"expert's cost, {most_cost:.2f} are allowed: {fitted['expert_share']:.2f} of the articles reach it, and "
            f"the student takes {cost['student_seconds'] / cost['expert_seconds']:.2f} of its time"
        )
        return FittedCascade(**{**found.to_dict(), "problem": problem})
    _write(each, student, name, found, goal)
    return found


def _write(each: Filter, student: str, name: str, found: FittedCascade, goal: Goal) -> None:
    outside = found.held_out or {}
    route = Route(
        made_for={one: each.spec.parts(one)[one].fingerprint for one in (student, each.checkpoint)},
        source=f"{found.n} validation articles, for a tier agreement of {goal.agreement:g} and a recall of medium and "
        f"above of {goal.recall:g}; on articles held out {outside['tier_agreement']:.3f} and "
        f"{outside['medium_recall']:.3f}, with {outside['expert_share']:.3f} of them asked about",
        ask=found.ask,
    )
    folder = each.folder / name
    folder.mkdir(exist_ok=True)
    write_json(folder / "cascade.json", route.model_dump(mode="json"))
    fields = {"kind": "cascade", "student": student, "expert": each.checkpoint}
    write_checkpoint(each.folder, name, fields, route=folder / "cascade.json")


def _fold(example: Example) -> int:
    return int(hashlib.sha256(example.cluster.encode()).hexdigest()[:8], 16) % FOLDS
