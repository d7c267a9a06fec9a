"""The course every student takes: its head's start, the Trainer, the record, and the weights at the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from distilled_filters.errors import SettingError
from distilled_filters.files import write_bytes
from distilled_filters.spec import LensSpec
from distilled_filters.training import record
from distilled_filters.training.batches import Rows, collate, label_rows
from distilled_filters.training.curves import draw_curves, write_curves
from distilled_filters.training.data import Example
from distilled_filters.training.recipe import Course, nearest
from distilled_filters.training.student import HeadedStudent
from distilled_filters.training.trainer import StudentTrainer, device

__all__ = ["check_data", "chosen", "last_checkpoint", "run_course", "start_head"]


def run_course(
    student: HeadedStudent,
    recipe: Course,
    lenses: Sequence[LensSpec],
    rows: Rows,
    needles: Sequence[bool],
    validation: Sequence[Example],
    output: Path,
) -> None:
    """Train a student from where the run was stopped, and write its curves, its record and, last, its weights."""
    judged = Rows([example.window for example in validation], label_rows(validation, lenses))
    trainer = StudentTrainer(student, recipe, lenses, rows, needles, judged, output)
    checkpoint = last_checkpoint(output)
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    history = trainer.state.log_history
    write_curves(output, history)
    draw_curves(output, history, output.name)
    record.finish(output, history)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in student.state_dict().items()}
    write_bytes(output / record.STUDENT_FILE, save(tensors))
    shutil.rmtree(output / "checkpoints")


def start_head(student: HeadedStudent, rows: Rows, labels: Tensor) -> None:
    """Start the head from what the model says of the rows before it has learnt anything."""
    student.start_from(_sample_embeddings(student.to(device()), rows), labels)


@torch.no_grad()
def _sample_embeddings(student: HeadedStudent, rows: Rows) -> Tensor:
    """Embed every n-th row by the encoder as it is, some hundreds in all."""
    student.eval()
    embeddings = []
    for index in tqdm(range(0, len(rows), max(1, len(rows) // 384)), desc="base", unit="article", disable=None):
        batch = collate([rows[index]])
        embeddings.append(student.embed(batch["input_ids"].to(device()), batch["attention_mask"].to(device())))
    student.train()
    return torch.cat(embeddings)


def last_checkpoint(output: Path) -> Path | None:
    """Return a run's newest whole checkpoint and remove those that a kill left in parts."""
    whole = {}
    for path in (output / "checkpoints").glob("checkpoint-*"):
        try:
            # The Trainer writes this file last.
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            whole[int(path.name.removeprefix("checkpoint-"))] = path
        except (FileNotFoundError, json.JSONDecodeError):
            shutil.rmtree(path)
    return whole[max(whole)] if whole else None


def chosen(lenses: Sequence[LensSpec], names: Sequence[str]) -> list[LensSpec]:
    """Return the lenses of these names, or all.

    Raises:
        SettingError: for a name that is none of them.
    """
    known = [lens.name for lens in lenses]
    for name in names:
        if name not in known:
            raise SettingError(f"no filter {name!r}; {nearest(name, known)}")
    return [lens for lens in lenses if not names or lens.name in names]


def check_data(
    training: Sequence[Example], validation: Sequence[Example], lenses: Sequence[LensSpec], data: Path
) -> None:
    """Refuse data that teach or judge nothing.

    Raises:
        SettingError: naming the split or the lens.
    """
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
