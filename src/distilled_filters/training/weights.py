"""A finished run's weights, for a student that teaches, or one that goes on from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers.utils import logging

from distilled_filters.errors import SettingError
from distilled_filters.spec import LensSpec
from distilled_filters.training.record import Run, read_run
from distilled_filters.training.student import Student

__all__ = ["finished_student", "heads_of", "learnt", "mean_student", "take_up"]

_HEAD = ("head.weight", "head.bias")
_LAYER = "encoder.encoder.layer."


def finished_student(folder: Path, lenses: Sequence[LensSpec]) -> Student:
    """Return a finished run's student with the heads of some lenses, ready to answer.

    Raises:
        SettingError: when the run has no such heads, or other dimensions.
    """
    run = read_run(folder)
    if run.is_expert:
        raise SettingError(f"{folder} trained a language model, no encoder student")
    # Its report of layers left out says nothing that the recipe does not.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    student = Student(run.recipe["base"], lenses, run.recipe["layers"], run.recipe.get("merge_after", ()))
    _load(student, run, learnt(run, lenses))
    student.eval()
    return student


def mean_student(folders: Sequence[Path], lenses: Sequence[LensSpec]) -> tuple[Student, str]:
    """Return the student whose weights are the mean of finished runs', ready to answer, and its base's name.

    Raises:
        SettingError: when runs have other bases, layers or heads than each other.
    """
    students = [finished_student(folder, lenses) for folder in folders]
    recipes = [read_run(folder).recipe for folder in folders]
    kinds = {(each["base"], each["layers"], tuple(each.get("merge_after", ()))) for each in recipes}
    if len(kinds) != 1:
        raise SettingError(
            f"runs of different bases, layers or merging have no mean: {sorted(kinds, key=str)}; export one"
        )
    states = [student.state_dict() for student in students]
    students[0].load_state_dict({name: torch.stack([s[name] for s in states]).mean(dim=0) for name in states[0]})
    return students[0], str(recipes[0]["base"])


def heads_of(folder: Path) -> set[str] | None:
    """Return the lenses a finished run has heads for; None in runs that are older than that record."""
    lenses = read_run(folder).lenses
    return None if lenses is None else set(lenses)


def take_up(student: Student, folder: Path, lenses: Sequence[LensSpec]) -> bool:
    """Give a fresh student what a finished run has learnt; return whether its heads fit too.

    A student with fewer layers takes the run's first ones, and no heads: they read the
    last layer's embeddings.

    Raises:
        SettingError: when the run's encoder or heads are others.
    """
    run = read_run(folder)
    weights = learnt(run, lenses)
    kept = student.encoder.config.num_hidden_layers
    dropped = {name for name in weights if name.startswith(_LAYER) and int(name[len(_LAYER) :].split(".")[0]) >= kept}
    if dropped:
        own = student.state_dict()
        weights = {
            name: tensor if name.startswith("encoder.") else own[name]
            for name, tensor in weights.items()
            if name not in dropped
        }
    _load(student, run, weights)
    return not dropped


def learnt(run: Run, lenses: Sequence[LensSpec]) -> dict[str, Tensor]:
    """Read a run's tensors, with those rows of its joint head that belong to the lenses.

    Raises:
        SettingError: when the run has no such heads, or other dimensions.
    """
    weights: dict[str, Tensor] = load_file(run.weights)
    rows = _rows(run, lenses)
    if rows is not None:
        weights.update({name: weights[name][rows].clone() for name in _HEAD})
    return weights


def _rows(run: Run, lenses: Sequence[LensSpec]) -> list[int] | None:
    if run.lenses is None:
        return None
    there, start = {}, 0
    for name, dimensions in run.lenses.items():
        there[name] = range(start, start + 1 + len(dimensions))
        start = there[name].stop
    rows: list[int] = []
    for lens in lenses:
        theirs = run.lenses.get(lens.name)
        if theirs is None:
            raise SettingError(f"{run.folder} was trained for {', '.join(run.lenses)}; it has no head for {lens.name}")
        if theirs != list(lens.dimension_names):
            raise SettingError(
                f"{run.folder} was trained for other dimensions of {lens.name}: {', '.join(theirs)}; "
                f"now they are {', '.join(lens.dimension_names)}. Train it anew"
            )
        rows += there[lens.name]
    return rows


def _load(student: Student, run: Run, weights: dict[str, Tensor]) -> None:
    try:
        student.load_state_dict(weights)
    except RuntimeError as error:
        rows = student.head.out_features
        raise SettingError(
            f"the student in {run.folder} does not fit a {student.encoder.config.num_hidden_layers}-layer encoder with "
            f"{rows} head rows; give the --base and the filters it was trained with"
        ) from error
