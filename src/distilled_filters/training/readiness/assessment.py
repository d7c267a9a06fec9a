"""Reading, measuring and judging in one go: what `distillery readiness` does before it shows anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distilled_filters.errors import SettingError
from distilled_filters.training.readiness.answers import Answers
from distilled_filters.training.readiness.checks import Check, checks
from distilled_filters.training.readiness.curve import learning_curve
from distilled_filters.training.readiness.facts import Facts, measure
from distilled_filters.training.readiness.material import read_material
from distilled_filters.training.readiness.privacy import search
from distilled_filters.training.readiness.rubric import Judgement, judge

__all__ = ["Assessment", "assess"]


@dataclass(frozen=True)
class Assessment:
    """What is known of the data, what a person said, and what it comes to."""

    facts: Facts
    answers: Answers
    checks: list[Check]
    judgement: Judgement

    def document(self) -> dict[str, Any]:
        """Return everything for JSON."""
        judgement = self.judgement
        return {
            "verdict": judgement.verdict,
            "reasons": judgement.reasons,
            "points": judgement.total,
            "sections": judgement.sections,
            "rubric": [asdict(point) for point in judgement.points],
            "checks": [asdict(check) for check in self.checks],
            "answers": self.answers.model_dump(mode="json", exclude_none=True),
            "facts": self.facts.document(),
        }


def assess(
    data: Path,
    filters: Path,
    *,
    labels: Sequence[Path] = (),
    names: Sequence[str] = (),
    base: str | None = None,
    answers: Answers | None = None,
    personal_data: bool = True,
    masked: Path | None = None,
    curve: bool = False,
) -> Assessment:
    """Judge whether labelled articles are worth training on.

    Args:
        data: A folder with `articles.jsonl` and `labels.jsonl`, or a file of articles.
        filters: The `filters/` folder.
        labels: Label files; by default `labels.jsonl` beside the articles.
        names: Lenses to judge; by default those that the labels speak of.
        base: The encoder whose tokenizer counts tokens; by default the filters' backbone.
        answers: What no file can tell.
        personal_data: Search for personal data.
        masked: Where to write the articles without it.
        curve: Measure a learning curve.

    Raises:
        DatasetError: when there is nothing to judge; the message says what to mend.
        SettingError: when `masked` would overwrite articles or labels.
    """
    material = read_material(data, labels, filters, names, base)
    inputs = {path.resolve() for path in (material.articles, *material.label_files)}
    if masked is not None and masked.resolve() in inputs:
        raise SettingError(f"--mask {masked} would overwrite what is judged; name another file")
    privacy = search(material.articles, masked) if personal_data or masked else None
    points = learning_curve(material) if curve else []
    facts = measure(material, filters, privacy, points)
    given = answers or Answers()
    return Assessment(facts, given, checks(facts, given), judge(facts, given))
