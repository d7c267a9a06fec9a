"""The ensemble: several checkpoints answer, one score is made of them, and how far they part is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from distilled_filters.decision import verdict
from distilled_filters.errors import CheckpointError
from distilled_filters.scorers.base import EXPERT, SCREEN, STUDENT, Answer, Reading, Scorer, Source, Tables
from distilled_filters.scorers.compositions import Combination, read_composition
from distilled_filters.scorers.kinds import open_parts
from distilled_filters.spec import EnsembleCheckpoint, LensSpec

__all__ = ["EnsembleScorer", "open_checkpoint"]

_DEPTH = (SCREEN, STUDENT, EXPERT)


class EnsembleScorer:
    """An opened ensemble: its members by name, the factors of their answers, and tables fitted to the sum."""

    def __init__(self, members: Mapping[str, Scorer], combination: Combination, tables: Tables, spec: LensSpec) -> None:
        """Keep the parts."""
        self.members = members
        self.tables = tables
        self._factors = np.array([combination.coefficients[name] for name in members])
        self._spec = spec

    def __call__(self, reading: Reading) -> Answer:
        """Answer one article; stage and tokens are those of the member that looked deepest.

        Raises:
            RecordError: when one member cannot read it, or a runtime fails on it.
        """
        answers = [member(reading) for member in self.members.values()]
        dimensions = [answer.calibrated(self._spec.dimension_names) for answer in answers]
        averages = [verdict(row, self._spec)[0] for row in dimensions]
        together = np.clip((self._factors * np.array(dimensions)).sum(axis=0), 0.0, 10.0)
        deepest = max(answers, key=lambda answer: _DEPTH.index(answer.stage))
        return Answer(together.tolist(), deepest.stage, deepest.tokens, self.tables, max(averages) - min(averages))

    def close(self) -> None:
        """Give back what no other scorer uses."""
        for member in self.members.values():
            member.close()


def open_checkpoint(
    source: Source, weights: EnsembleCheckpoint, open_part: Callable[[Source], Scorer]
) -> EnsembleScorer:
    """Open the members, and read what each counts for.

    Raises:
        CheckpointError: when a file is missing, damaged, or was fitted to other members.
        DistilledFiltersError: as opening a member alone would.
    """
    combination = read_composition(source, Combination)
    shape = {name: len(factors) for name, factors in combination.coefficients.items()}
    if shape != dict.fromkeys(weights.members, len(source.spec.dimensions)):
        raise CheckpointError(
            f"{source.folder / weights.combination.path}: it must hold {len(source.spec.dimensions)} factors for each "
            f"of {', '.join(weights.members)}; it holds {shape}"
        )
    tables = source.tables(weights, source.files())
    members = dict(zip(weights.members, open_parts(source, open_part), strict=True))
    return EnsembleScorer(members, combination, tables, source.spec)
