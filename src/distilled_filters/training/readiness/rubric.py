"""35 points, five a section, each given or not for a reason that is told; and what they come to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from distilled_filters.training.readiness.answers import GUIDE, Answers
from distilled_filters.training.readiness.facts import Facts
from distilled_filters.training.readiness.limits import ENOUGH, FEWEST, OF_SECTION, PREMATURE
from distilled_filters.training.readiness.rules import RULES, UNANSWERED, failing

__all__ = ["Judgement", "Point", "Verdict", "judge"]


class Verdict(StrEnum):
    """What the points come to."""

    JUSTIFIED = "justified"
    NEEDS_EVALUATION = "needs evaluation"
    PREMATURE = "premature"


@dataclass(frozen=True)
class Point:
    """One of the 35: whether it was given, why, and whether files or a person said so."""

    section: str
    demand: str
    given: bool
    why: str
    source: str


@dataclass(frozen=True)
class Judgement:
    """All points and what they come to.

    Attributes:
        points: In the rubric's order.
        verdict: What to do.
        reasons: Why the verdict is not a better one; empty where training is justified.
    """

    points: list[Point]
    verdict: Verdict
    reasons: list[str]

    @property
    def total(self) -> int:
        """Points given, 0-35."""
        return sum(point.given for point in self.points)

    @property
    def open(self) -> int:
        """Points that were not given because nobody answered, 0-35."""
        return sum(point.source == UNANSWERED for point in self.points)

    @property
    def sections(self) -> dict[str, int]:
        """Points given in each section, 0-5."""
        given = Counter(point.section for point in self.points if point.given)
        return {point.section: given[point.section] for point in self.points}


def judge(facts: Facts, answers: Answers) -> Judgement:
    """Hold facts and answers against the rubric."""
    points = [
        Point(section, demand, (found := rule(facts, answers)).given, found.why, found.source)
        for section, rules in RULES.items()
        for demand, rule in rules
    ]
    judgement = Judgement(points, Verdict.JUSTIFIED, [])
    premature, reasons = [], []
    if few := failing(facts, lambda lens: lens.labelled >= FEWEST, lambda lens: f"{lens.labelled:,}"):
        premature.append(f"fewer than {FEWEST} labelled articles: {few}")
    if answers.need and not GUIDE[answers.need].trains:
        premature.append(f"the need is {answers.need}; try first: {GUIDE[answers.need].remedy}")
    # Silence makes nothing premature; answers could still give these.
    if judgement.total + judgement.open < PREMATURE:
        premature.append(f"{judgement.total} of 35 points, at most {judgement.open} more by answers; "
                         f"{PREMATURE} are the least")  # fmt: skip
    if facts.copies.leaks:
        reasons.append(f"groups of copies in two splits: {facts.copies.leaks:,}; held-out figures would flatter")
    reasons += [
        f"{section}: {count} of 5 points; {OF_SECTION} are the least"
        for section, count in judgement.sections.items()
        if count < OF_SECTION
    ]
    if judgement.total < ENOUGH:
        reasons.append(f"{judgement.total} of 35 points; {ENOUGH} are enough")
    if reasons and judgement.open:
        reasons.append(f"{judgement.open} points wait for answers; --questionnaire asks")
    if premature:
        return Judgement(points, Verdict.PREMATURE, premature + reasons)
    return Judgement(points, Verdict.NEEDS_EVALUATION if reasons else Verdict.JUSTIFIED, reasons)
