"""Fine-tune a shared encoder and all heads on a data folder; resumes where it was stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm
from transformers import AutoConfig
from transformers.utils import logging

from distilled_filters.errors import SettingError
from distilled_filters.files import write_bytes
from distilled_filters.preprocess import Preprocessor
from distilled_filters.spec import LensSpec
from distilled_filters.training import record
from distilled_filters.training.base import tokenizer_file
from distilled_filters.training.batches import Rows, collate, label_rows
from distilled_filters.training.curves import draw_curves, write_curves
from distilled_filters.training.data import Example, read_examples, read_lenses, select, shared_preprocessing
from distilled_filters.training.distil import kept_answers
from distilled_filters.training.predict import read_unlabelled
from distilled_filters.training.recipe import Recipe, nearest
from distilled_filters.training.student import Student
from distilled_filters.training.trainer import StudentTrainer, device, is_needle
from distilled_filters.training.weights import finished_student, take_up

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
    lenses = _chosen(read_lenses(filters), recipe.filters)
    tokenizer = tokenizer_file(recipe.base)
    _check_layers(recipe)
    preprocessor = Preprocessor(shared_preprocessing(lenses), Tokenizer.from_file(str(tokenizer)))
    examples = read_examples(data, lenses, preprocessor)
    training, validation = select(examples, "train"), select(examples, "validation")
    _check_data(training, validation, lenses, data)
    record.begin(output, recipe.model_dump(mode="json"), lenses, _digests(recipe, data, examples))
    if record.is_finished(output):
        return output

    checkpoint = _last_checkpoint(output / "checkpoints")
    student = Student(recipe.base, lenses, recipe.layers, regression=recipe.regression, ranking=recipe.ranking)
    rows = _rows(recipe, training, examples, lenses, preprocessor, output)
    if checkpoint is None and not (recipe.start and take_up(student, Path(recipe.start), lenses)):
        student.start_from(_sample_embeddings(student.to(device()), rows), label_rows(training, lenses))
    trainer = StudentTrainer(
        student,
        recipe,
        lenses,
        rows,
        [is_needle(example, lenses) for example in training] + [False] * (len(rows) - len(training)),
        Rows([example.window for example in validation], label_rows(validation, lenses)),
        output,
    )
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    history = trainer.state.log_history
    write_curves(output, history)
    draw_curves(output, history, output.name)
    record.finish(output, history)
    write_bytes(output / record.STUDENT_FILE, save({name: t.cpu() for name, t in student.state_dict().items()}))
    shutil.rmtree(output / "checkpoints")
    return output


def _rows(
    recipe: Recipe,
    training: Sequence[Example],
    examples: Sequence[Example],
    lenses: Sequence[LensSpec],
    preprocessor: Preprocessor,
    output: Path,
) -> Rows:
    """Return the training rows: labelled ones, then unlabelled ones, with the teacher's answers where there is one."""
    windows, labels = [example.window for example in training], label_rows(training, lenses)
    if recipe.teacher is None:
        return Rows(windows, labels)
    teacher = finished_student(Path(recipe.teacher), lenses)
    if (
        tokenizer_file(record.read_run(Path(recipe.teacher)).recipe["base"]).read_bytes()
        != tokenizer_file(recipe.base).read_bytes()
    ):
        raise SettingError(
            f"the teacher {recipe.teacher} reads other tokens than {recipe.base}; give both one tokenizer"
        )
    if recipe.unlabelled:
        # An article that has labels, or is held out, is not learnt from a second time.
        known = {example.window.ids.tobytes() for example in examples}
        more = [
            each for each in read_unlabelled(Path(recipe.unlabelled), preprocessor) if each.ids.tobytes() not in known
        ]
        windows += more
        labels = torch.cat([labels, labels.new_full((len(more), labels.shape[1]), torch.nan)])
    return Rows(windows, labels, kept_answers(teacher.to(device()), windows, output / "teacher"))


@torch.no_grad()
def _sample_embeddings(student: Student, rows: Rows) -> Tensor:
    """Embed every n-th row by the encoder as it is, some hundreds in all."""
    student.eval()
    embeddings = []
    for index in tqdm(range(0, len(rows), max(1, len(rows) // 384)), desc="base", unit="article", disable=None):
        batch = collate([rows[index]])
        embeddings.append(student.embed(batch["input_ids"].to(device()), batch["attention_mask"].to(device())))
    student.train()
    return torch.cat(embeddings)


def _last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint and remove those that a kill left in parts."""
    whole = {}
    for path in folder.glob("checkpoint-*"):
        try:
            # The Trainer writes this file last.
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            whole[int(path.name.removeprefix("checkpoint-"))] = path
        except (FileNotFoundError, json.JSONDecodeError):
            shutil.rmtree(path)
    return whole[max(whole)] if whole else None


def _digests(recipe: Recipe, data: Path, examples: Sequence[Example]) -> dict[str, Any]:
    files = {name: data / name for name in ("articles.jsonl", "labels.jsonl")}
    if recipe.unlabelled:
        files["unlabelled"] = Path(recipe.unlabelled)
    for what in ("start", "teacher"):
        if folder := getattr(recipe, what):
            files[what] = record.read_run(Path(folder)).weights
    return record.digests(files, [example.split for example in examples])


def _chosen(lenses: Sequence[LensSpec], names: Sequence[str]) -> list[LensSpec]:
    known = [lens.name for lens in lenses]
    for name in names:
        if name not in known:
            raise SettingError(f"no filter {name!r}; {nearest(name, known)}")
    return [lens for lens in lenses if not names or lens.name in names]


def _check_data(
    training: Sequence[Example], validation: Sequence[Example], lenses: Sequence[LensSpec], data: Path
) -> None:
    for split, examples in (("train", training), ("validation", validation)):
        if not examples:
            raise SettingError(
                f"no labelled article of {data}/articles.jsonl that can be scored has the split {split!r}; "
                "training needs some of train and some of validation"
            )
        unseen = [lens.name for lens in lenses if not any(example.labels[lens.name].scope for example in examples)]
        if split == "train" and unseen:
            raise SettingError(
                f"no training article is in scope of {', '.join(unseen)}; label some, or name the others with --filter"
            )
        if len(unseen) == len(lenses):
            raise SettingError("no validation article is in scope of any filter; the best checkpoint cannot be told")


def _check_layers(recipe: Recipe) -> None:
    if recipe.layers is not None:
        there = AutoConfig.from_pretrained(recipe.base).num_hidden_layers
        if recipe.layers > there:
            raise SettingError(f"{recipe.base} has {there} layers; {recipe.layers} cannot be kept of them")
