"""What opinions come to: advice for every row, and where a student is weak."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from distilled_filters.decision import verdict
from distilled_filters.spec import LensSpec
from distilled_filters.training.judge.cases import Case
from distilled_filters.training.judge.question import Opinion

__all__ = ["Advice", "Finding", "weak_spots"]

# On the judge's scale of fit, 0-10: what is clearly better, and what does not hold at all.
_CLEARLY = 2.0
_HOLDS = 4.0

# Words: about what the window reads, and twice that.
_LENGTHS = ((150, "up to 150 words"), (300, "151-300 words"), (600, "301-600 words"))
_LONGEST = "over 600 words"


class Advice(StrEnum):
    """What should become of a row."""

    KEEP = "keep"
    """The label holds; where the student differs, it is the student that is wrong."""
    RELABEL = "relabel"
    """The judge sides with the student against the label: let the oracle read the article again."""
    REPLACE = "replace"
    """Neither holds: the judge's own scores may take the label's place."""
    DROP = "drop"
    """The article cannot be judged by anybody."""


@dataclass(frozen=True)
class Finding:
    """A case and what the judge said of it."""

    case: Case
    opinion: Opinion
    lens: LensSpec

    @property
    def advice(self) -> Advice:
        """What should become of the row."""
        if self.opinion.article == "unfit":
            return Advice.DROP
        if max(self.opinion.student, self.opinion.oracle) < _HOLDS:
            return Advice.REPLACE
        if self.opinion.student - self.opinion.oracle >= _CLEARLY:
            return Advice.RELABEL
        return Advice.KEEP

    def as_row(self) -> dict[str, Any]:
        """Return everything about the case but the article's text, for JSON."""
        names = self.lens.dimension_names
        scores = {"student": self.case.student, "oracle": self.case.oracle, "judge": self.opinion.scores}
        return {
            "id": self.case.row["id"], "advice": self.advice.value, "reason": self.opinion.reason,
            "fit": {"student": self.opinion.student, "oracle": self.opinion.oracle},
            "averages": {side: round(verdict(each, self.lens)[0], 4) for side, each in scores.items()},
            "dimensions": {
                side: {name: round(score, 4) for name, score in zip(names, each, strict=True)}
                for side, each in scores.items()
            },
            "language": _language(self.case), "length": _length(self.case), "split": self.case.row.get("split"),
        }  # fmt: skip


def weak_spots(findings: Sequence[Finding], lens: LensSpec) -> dict[str, dict[str, dict[str, float]]]:
    """Return by dimension, language and length how far student and oracle are from the judge.

    `student_error` and `oracle_error` are mean absolute distances to the judge's scores, 0-10;
    `student_bias` is the mean of the student's minus the judge's; `student_preferred` the share
    of rows on which the judge finds the student's judgement the better fit. Rows whose article
    cannot be judged are left out.
    """
    judged = [each for each in findings if each.advice is not Advice.DROP]
    spots: dict[str, dict[str, dict[str, float]]] = {"dimension": {}, "language": {}, "length": {}}
    if not judged:
        return spots
    student, oracle, judge = (
        np.array(rows)
        for rows in zip(*((each.case.student, each.case.oracle, each.opinion.scores) for each in judged), strict=True)
    )
    for column, name in enumerate(lens.dimension_names):
        spots["dimension"][name] = _errors(student[:, column], oracle[:, column], judge[:, column])
    groups: tuple[tuple[str, Callable[[Case], str]], ...] = (("language", _language), ("length", _length))
    for group, part_of in groups:
        parts: dict[str, list[int]] = defaultdict(list)
        for place, each in enumerate(judged):
            parts[part_of(each.case)].append(place)
        for part, rows in sorted(parts.items()):
            spots[group][part] = _errors(student[rows], oracle[rows], judge[rows]) | {
                "n": len(rows),
                "student_preferred": _share([judged[row].opinion for row in rows]),
            }
    return spots


def _errors(student: Any, oracle: Any, judge: Any) -> dict[str, float]:
    return {
        "student_error": round(float(np.abs(student - judge).mean()), 3),
        "oracle_error": round(float(np.abs(oracle - judge).mean()), 3),
        "student_bias": round(float((student - judge).mean()), 3),
    }


def _share(opinions: Sequence[Opinion]) -> float:
    return round(float(np.mean([each.student > each.oracle for each in opinions])), 3)


def _language(case: Case) -> str:
    return str(case.row.get("language") or "und")


def _length(case: Case) -> str:
    words = len(str(case.row.get("content", "")).split())
    return next((name for most, name in _LENGTHS if words <= most), _LONGEST)
