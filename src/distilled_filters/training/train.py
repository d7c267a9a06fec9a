"""Fine-tune a shared encoder and all heads on a data folder; resumes where it was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig
from transformers.utils import logging

from distilled_filters.errors import SettingError
from distilled_filters.preprocess import Preprocessor
from distilled_filters.spec import LensSpec
from distilled_filters.training import record
from distilled_filters.training.base import encoder_reader
from distilled_filters.training.batches import Rows, label_rows
from distilled_filters.training.course import check_data, chosen, last_checkpoint, run_course, start_head
from distilled_filters.training.data import Example, read_examples, read_lenses, select, shared_preprocessing
from distilled_filters.training.distil import kept_answers
from distilled_filters.training.predict import read_unlabelled
from distilled_filters.training.recipe import Recipe
from distilled_filters.training.student import Student
from distilled_filters.training.teacher import open_teacher
from distilled_filters.training.trainer import device, is_needle
from distilled_filters.training.weights import learnt, take_up

__all__ = ["Recipe", "train"]


def train(recipe: Recipe, data: Path, filters: Path, output: Path) -> Path:
    """Train one student for the recipe's lenses; return the folder with its weights.

    Writes `recipe.json` (see `record`), `curves.json`, `curves.png` and, last,
    `student.safetensors` into `output`. A second call with the same arguments goes on from
    the last checkpoint, and does nothing once the run has finished.

    Args:
        recipe: How to train.
        data: A folder with `articles.jsonl` and `labels.jsonl`.
        filters: The folder of filter folders.
        output: The run's folder; made where it is missing.

    Raises:
        SettingError: when recipe, data, filters and what `output` holds do not go together.
    """
    # Its reports of layers left out and weights loaded say nothing that the recipe does not.
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    lenses = chosen(read_lenses(filters), recipe.filters)
    preprocessor = encoder_reader(recipe.base, shared_preprocessing(lenses))
    _check_layers(recipe)
    examples = read_examples(data, lenses, preprocessor)
    training, validation = select(examples, "train"), select(examples, "validation")
    check_data(training, validation, lenses, data)
    if recipe.teacher:
        # A teacher without these heads is refused before the folder is taken.
        learnt(record.read_run(Path(recipe.teacher)), lenses)
    record.begin(output, recipe.model_dump(mode="json"), lenses, _digests(recipe, data, examples))
    if record.is_finished(output):
        return output

    checkpoint = last_checkpoint(output)
    student = Student(
        recipe.base, lenses, recipe.layers, recipe.merge_after,
        token_dropout=recipe.token_dropout, regression=recipe.regression, ranking=recipe.ranking,
    )  # fmt: skip
    rows = _rows(recipe, training, examples, lenses, preprocessor, data, output)
    if checkpoint is None and not (recipe.start and take_up(student, Path(recipe.start), lenses)):
        start_head(student, rows, label_rows(training, lenses))
    needles = [is_needle(example, lenses) for example in training] + [False] * (len(rows) - len(training))
    run_course(student, recipe, lenses, rows, needles, validation, output)
    return output


def _rows(
    recipe: Recipe,
    training: Sequence[Example],
    examples: Sequence[Example],
    lenses: Sequence[LensSpec],
    preprocessor: Preprocessor,
    data: Path,
    output: Path,
) -> Rows:
    """Return the training rows: labelled ones, then unlabelled ones, with the teacher's answers where there is one."""
    windows, labels = [example.window for example in training], label_rows(training, lenses)
    if recipe.teacher is None:
        return Rows(windows, labels)
    teacher = open_teacher(Path(recipe.teacher), lenses)
    read = {example.id: example.window for example in read_examples(data, lenses, teacher.read)}
    unread = [example.id for example in training if example.id not in read]
    if unread:
        raise SettingError(
            f"the teacher {recipe.teacher} cannot read {len(unread)} training articles, such as {unread[0]!r}: "
            "its tokenizer does not know their script; take another, or leave them out"
        )
    taught = [read[example.id] for example in training]
    if recipe.unlabelled:
        # An article that has labels, or is held out, is not learnt from a second time.
        known = {example.window.ids.tobytes() for example in examples}
        pairs = read_unlabelled(Path(recipe.unlabelled), preprocessor, teacher.read)
        more = [(own, theirs) for own, theirs in pairs if own.ids.tobytes() not in known]
        windows += [own for own, _ in more]
        taught += [theirs for _, theirs in more]
        labels = torch.cat([labels, labels.new_full((len(more), labels.shape[1]), torch.nan)])
    return Rows(windows, labels, kept_answers(teacher.student.to(device()), taught, output / "teacher"))


def _digests(recipe: Recipe, data: Path, examples: Sequence[Example]) -> dict[str, Any]:
    files = {name: data / name for name in ("articles.jsonl", "labels.jsonl")}
    if recipe.unlabelled:
        files["unlabelled"] = Path(recipe.unlabelled)
    for what in ("start", "teacher"):
        if folder := getattr(recipe, what):
            files[what] = record.read_run(Path(folder)).weights
    return record.digests(files, [example.split for example in examples])


def _check_layers(recipe: Recipe) -> None:
    config = AutoConfig.from_pretrained(recipe.base)
    if recipe.merge_after and config.model_type != "bert":
        raise SettingError(f"{recipe.base} is {config.model_type}; --merge-after is for BERT encoders")
    there = config.num_hidden_layers
    kept = recipe.layers or there
    if kept > there:
        raise SettingError(f"{recipe.base} has {there} layers; {kept} cannot be kept of them")
    for layer in recipe.merge_after:
        if not 1 <= layer < kept:
            raise SettingError(f"--merge-after {layer}: tokens are merged after layer 1 to {kept - 1} of {kept}")
