"""What a filter's folder already says: is the prompt the spec's own, and how did the released student do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilled_filters.errors import SpecError
from distilled_filters.spec import FilterSpec, LensSpec, read_filter_spec

__all__ = ["Release", "release_of"]


@dataclass(frozen=True)
class Release:
    """What lies beside a spec.

    Attributes:
        version: Of the lens.
        prompt_holds: Whether `prompt.md` has the digest that the spec names; None where there is none.
        golden: Whether there are reference articles.
        percentiles: Whether there is a reference distribution of scores.
        metrics_hold: Whether `metrics.json` belongs to the head that the spec names; None where there is none.
        student: The student's figures on held-out articles, by name; the same of `teacher` and `baseline`.
        teacher: The oracle's second reading against its first.
        baseline: Ridge regression on TF-IDF.
    """

    version: str
    prompt_holds: bool | None
    golden: bool
    percentiles: bool
    metrics_hold: bool | None
    student: dict[str, float | None]
    teacher: dict[str, float | None]
    baseline: dict[str, float | None]

    def noise_ratio(self, figure: str = "in_scope_dimension_mae") -> float | None:
        """Return the student's error as a multiple of the oracle's own; None where one is unknown or zero."""
        student, teacher = self.student.get(figure), self.teacher.get(figure)
        return student / teacher if student is not None and teacher else None

    @property
    def beats_baseline(self) -> bool | None:
        """Whether the student ranks medium and above better than the baseline; None where one is unknown."""
        own, other = (each.get("medium_average_precision") for each in (self.student, self.baseline))
        return own > other if own is not None and other is not None else None


def release_of(folder: Path, lens: LensSpec) -> Release:
    """Read what is there; a lens that is not trained yet has no figures."""
    spec = _trained(folder)
    metrics = _metrics(folder)
    methods: dict[str, Any] = metrics.get("methods", {})
    prompt = folder / "prompt.md"
    return Release(
        version=lens.version,
        prompt_holds=_digest(prompt) == lens.prompt_sha256 if prompt.is_file() else None,
        golden=(folder / "golden.jsonl").is_file(),
        percentiles=(folder / "percentiles.json").is_file(),
        metrics_hold=_holds(spec, metrics) if metrics else None,
        student=methods.get("student", {}),
        teacher=methods.get("teacher", {}),
        baseline=methods.get("tfidf_ridge", {}),
    )


def _trained(folder: Path) -> FilterSpec | None:
    try:
        return read_filter_spec(folder / "filter.toml")
    except SpecError:  # no checkpoint yet
        return None


def _metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _holds(spec: FilterSpec | None, metrics: dict[str, Any]) -> bool:
    return spec is not None and metrics.get("head_sha256") == spec.checkpoints[spec.default_checkpoint].digest


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
