"""The cascade: an encoder student that asks an expert only where its own answer leaves the tier open."""

from __future__ import annotations

from collections.abc import Callable

from distilled_filters.decision import verdict
from distilled_filters.scorers.base import SCREEN, Answer, Reading, Scorer, Source, Tables
from distilled_filters.scorers.compositions import Route, read_composition
from distilled_filters.scorers.kinds import open_parts
from distilled_filters.spec import CascadeCheckpoint, LensSpec

__all__ = ["CascadeScorer", "open_checkpoint"]


class CascadeScorer:
    """An opened cascade: two scorers, and the rule between them."""

    def __init__(self, student: Scorer, expert: Scorer, route: Route, spec: LensSpec) -> None:
        """Keep the parts."""
        self.student = student
        self.expert = expert
        self.route = route
        self._spec = spec

    @property
    def tables(self) -> Tables:
        """The student's; an answer of the expert brings the expert's."""
        return self.student.tables

    def __call__(self, reading: Reading) -> Answer:
        """Answer one article, to the bit as the one of the two that decides does alone.

        Raises:
            RecordError: when the student cannot read it, the expert is asked and cannot, or a runtime fails.
        """
        answer = self.student(reading)
        if answer.stage == SCREEN:
            return answer
        average, _ = verdict(answer.calibrated(self._spec.dimension_names), self._spec)
        return self.expert(reading) if self.route.asks(average) else answer

    def close(self) -> None:
        """Give back what no other scorer uses."""
        self.student.close()
        self.expert.close()


def open_checkpoint(source: Source, weights: CascadeCheckpoint, open_part: Callable[[Source], Scorer]) -> CascadeScorer:
    """Open student and expert, and read when the one asks the other.

    Raises:
        CheckpointError: when a file is missing, damaged, or was fitted to other parts.
        DistilledFiltersError: as opening either alone would.
    """
    route = read_composition(source, Route)
    student, expert = open_parts(source, open_part)
    return CascadeScorer(student, expert, route, source.spec)
