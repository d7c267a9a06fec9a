"""Declared gates: what the figures must hold before filters are released.

`filters/gates.toml` has a table `[mean]` for the means over the filters, `[every]` for
each of them, and one under any filter's own name:

    [mean]
    medium_average_precision = {at_least = 0.55, beats_baselines = true}
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from distilled_filters.errors import SpecError
from distilled_filters.training.evaluate.figures import COUNTS, FIGURES, Figures, lower_is_better
from distilled_filters.training.evaluate.measure import BASELINES, STUDENT, Evaluation

__all__ = ["Bound", "Gates", "Outcome", "check", "read_gates"]

_MEAN = "mean"
_EVERY = "every"
_OF_MEANS = (*(key for key in FIGURES if key not in COUNTS), "worst_language_ratio")


class Bound(BaseModel):
    """What one figure must hold: limits, and to be better than every baseline that was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    at_least: float | None = None
    at_most: float | None = None
    beats_baselines: bool = False

    @model_validator(mode="after")
    def _demands_something(self) -> Self:
        if self.at_least is None and self.at_most is None and not self.beats_baselines:
            raise ValueError("demands nothing; give at_least, at_most or beats_baselines = true")
        return self


Gates = dict[str, dict[str, Bound]]


@dataclass(frozen=True)
class Outcome:
    """One gate, held against what was measured."""

    where: str
    figure: str
    value: float | None
    demand: str
    passed: bool

    def __str__(self) -> str:
        """Return the gate in one line: where, figure, value, demand."""
        value = "not defined" if self.value is None else f"{self.value:.4f}"
        return f"{self.where}: {self.figure} is {value}; it must be {self.demand}"


def read_gates(path: Path, filters: Sequence[str]) -> Gates:
    """Read and check a file of gates for filters of these names.

    Raises:
        SpecError: naming the file, the key, and the nearest known name.
    """
    try:
        gates: Gates = TypeAdapter(Gates).validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not readable TOML: {error}") from error
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()
        )
        raise SpecError(f"{path}: {'; '.join(problems)}") from error
    for where, bounds in gates.items():
        _known(path, "table", where, [_MEAN, _EVERY, *filters])
        for figure in bounds:
            _known(path, f"figure in [{where}]", figure, _OF_MEANS if where == _MEAN else list(FIGURES))
    return gates


def check(gates: Gates, evaluation: Evaluation) -> list[Outcome]:
    """Hold every gate against what was measured; a figure that the split cannot define fails."""
    outcomes: list[Outcome] = []
    for where, bounds in gates.items():
        if where == _MEAN:
            outcomes += _check("mean of filters", bounds, evaluation.means)
        for name, report in evaluation.reports.items():
            if where in {_EVERY, name}:
                outcomes += _check(name, bounds, report["methods"])
    return outcomes


def _check(where: str, bounds: dict[str, Bound], methods: dict[str, Figures]) -> Iterator[Outcome]:
    for figure, bound in bounds.items():
        value = methods[STUDENT][figure]
        for limit, word, sign in ((bound.at_least, "at least", 1), (bound.at_most, "at most", -1)):
            if limit is not None:
                passed = value is not None and sign * value >= sign * limit
                yield Outcome(where, figure, value, f"{word} {limit:g}", passed)
        if not bound.beats_baselines:
            continue
        direction, word = (-1, "below") if lower_is_better(figure) else (1, "above")
        others = {each: other for each in BASELINES if (other := methods.get(each, {}).get(figure)) is not None}
        for baseline, other in others.items():
            passed = value is not None and direction * value > direction * other
            yield Outcome(where, figure, value, f"{word} {other:.4f}, the {baseline.replace('_', ' ')}'s", passed)
        if not others:
            yield Outcome(where, figure, value, f"{word} a baseline's, and none defines it", passed=False)


def _known(path: Path, kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise SpecError(f"{path}: no {kind} is named {name!r}; the nearest: {', '.join(near)}")
