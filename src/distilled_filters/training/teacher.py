"""A finished run that teaches: an encoder student, or an expert on a language model, and how it reads articles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distilled_filters.preprocess import Preprocessor
from distilled_filters.spec import LensSpec
from distilled_filters.training.base import encoder_reader
from distilled_filters.training.data import shared_preprocessing
from distilled_filters.training.record import read_run
from distilled_filters.training.student import HeadedStudent
from distilled_filters.training.weights import finished_student

__all__ = ["Teacher", "open_teacher"]


@dataclass(frozen=True)
class Teacher:
    """Who answers, and by what tokens and window it reads: its own, whatever its pupil's are."""

    student: HeadedStudent
    read: Preprocessor


def open_teacher(folder: Path, lenses: Sequence[LensSpec]) -> Teacher:
    """Open a finished run of any method, with the heads of some lenses, in the precision it was trained in.

    Raises:
        SettingError: when the run has no such heads, other dimensions, or its language model has changed.
        CheckpointError: when the language model cannot be used, or does not fit.
    """
    run = read_run(folder)
    settings = shared_preprocessing(lenses)
    if not run.is_expert:
        return Teacher(finished_student(folder, lenses), encoder_reader(run.recipe["base"], settings))
    # Encoders are trained without the extra [lora].
    from distilled_filters.training.lora.export import finished_expert
    from distilled_filters.training.lora.train import reader_of

    expert, recipe, base = finished_expert(folder, lenses, as_trained=True)
    return Teacher(expert, reader_of(recipe, settings, base))
