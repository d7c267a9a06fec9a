"""The Hugging Face Trainer with what is our own: learning rates, sampler, teacher, ranking metric."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor
from tqdm import tqdm
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from distilled_filters.spec import LensSpec
from distilled_filters.training.batches import NeedleSampler, Rows, collate
from distilled_filters.training.curves import write_curves
from distilled_filters.training.data import Example
from distilled_filters.training.distil import distillation
from distilled_filters.training.recipe import Course, Recipe
from distilled_filters.training.student import SCALE, HeadedStudent

__all__ = ["StudentTrainer", "device", "is_needle", "ranking"]


def device() -> torch.device:
    """Return where students are trained: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class StudentTrainer(Trainer):
    """Trains a student as a recipe says; checkpoints, and the best student at the end, by the ranking metric.

    Args:
        student: What to train.
        recipe: How.
        lenses: The student's lenses.
        rows: The training rows.
        needles: Which of them are needles.
        validation: What the ranking is measured on.
        output: The run's folder.
    """

    optimizer: Any

    def __init__(
        self,
        student: HeadedStudent,
        recipe: Course,
        lenses: Sequence[LensSpec],
        rows: Rows,
        needles: Sequence[bool],
        validation: Rows,
        output: Path,
    ) -> None:
        """Set the Trainer up; nothing is computed yet."""
        self._recipe = recipe
        self._student = student
        self._needles = needles
        self._distil_weight = recipe.distil_weight if isinstance(recipe, Recipe) else 0.0
        self._begun = time.monotonic()
        self._earlier_minutes: float | None = None
        callbacks: list[TrainerCallback] = [_Bar(), _Curves(output)]
        if recipe.patience:
            callbacks.append(EarlyStoppingCallback(recipe.patience))
        super().__init__(
            model=student,
            args=_arguments(recipe, output, len(rows)),
            train_dataset=rows,
            eval_dataset=validation,
            data_collator=collate,
            compute_metrics=lambda prediction: ranking(prediction, student, lenses),
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self._recipe.needle_weight == 1:
            return super()._get_train_sampler(train_dataset)
        weights = [self._recipe.needle_weight if needle else 1.0 for needle in self._needles]
        return NeedleSampler(weights, self._recipe.seed)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return AdamW with a larger learning rate for the fresh heads."""
        if self.optimizer is None:
            encoder = [p for p in self._student.encoder.parameters() if p.requires_grad]
            self.optimizer = torch.optim.AdamW(
                [
                    {"params": encoder, "lr": self._recipe.encoder_learning_rate},
                    {"params": list(self._student.head.parameters()), "lr": self._recipe.head_learning_rate},
                ],
                weight_decay=self._recipe.weight_decay,
            )
        return self.optimizer

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any) -> Any:
        """Return the labels' loss and, for rows with a teacher's answers, its share of them."""
        teacher = inputs.pop("teacher", None)
        outputs = model(**inputs)
        loss = outputs["loss"]
        if teacher is not None:
            share = self._distil_weight
            loss = (1 - share) * loss + share * distillation(outputs["logits"], teacher, self._student.rows)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with the minutes that training has taken so far, those before an interruption among them."""
        if self._earlier_minutes is None:
            self._earlier_minutes = next((row["minutes"] for row in reversed(self.state.log_history)), 0.0)
        logs["minutes"] = round(self._earlier_minutes + (time.monotonic() - self._begun) / 60, 3)
        super().log(logs, start_time)


def _arguments(recipe: Course, output: Path, articles: int) -> TrainingArguments:
    steps = math.ceil(math.ceil(articles / recipe.batch_size) * recipe.epochs)
    return TrainingArguments(
        output_dir=str(output / "checkpoints"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.articles_at_once,
        per_device_eval_batch_size=recipe.articles_at_once,
        gradient_accumulation_steps=-(-recipe.batch_size // recipe.articles_at_once),
        learning_rate=recipe.encoder_learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(recipe.warmup * steps),
        max_grad_norm=1.0,
        bf16=recipe.bf16,
        use_cpu=device().type == "cpu",
        seed=recipe.seed,
        eval_strategy="steps",
        eval_steps=recipe.evaluate_every,
        save_steps=recipe.evaluate_every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="ranking",
        restore_callback_states_from_checkpoint=True,
        logging_steps=min(20, recipe.evaluate_every),
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_num_workers=0,
        dataloader_pin_memory=device().type == "cuda",
    )


class _Bar(TrainerCallback):
    """The progress bar, where stderr is a terminal; quiet in a pipe."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar = tqdm(total=state.max_steps, initial=state.global_step, desc="training", unit="step", disable=None)
        self._figures: dict[str, str] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.update(state.global_step - self._bar.n)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.set_description("validating")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        named = {"loss": "loss", "eval_loss": "validation", "eval_ranking": "ranking"}
        self._figures |= {named[key]: f"{logs[key]:.3f}" for key in named if key in logs}
        self._bar.set_description("training")
        self._bar.set_postfix(self._figures)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.close()


class _Curves(TrainerCallback):
    """Writes the curves as figures after every look, so that a long run can be watched."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        write_curves(self._output, state.log_history)


def is_needle(example: Example, lenses: Sequence[LensSpec]) -> bool:
    """Tell whether an article reaches the medium tier in any lens."""
    return any(_average(example.labels[lens.name].dimensions, lens) >= lens.medium for lens in lenses)


def _average(dimensions: Any, lens: LensSpec) -> Any:
    """Return ungated weighted averages of dimensions (..., d)."""
    return dimensions @ np.array([dimension.weight for dimension in lens.dimensions])


def ranking(prediction: EvalPrediction, student: HeadedStudent, lenses: Sequence[LensSpec]) -> dict[str, float]:
    """Return average precisions on the validation split: of scope, of the medium tier, and the mean of both.

    Each is a mean over lenses; a lens of which the split has no positive is left out.
    """
    logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    scope_precision, medium_precision = [], []
    for lens in lenses:
        rows = student.rows[lens.name]
        scope = 1 / (1 + np.exp(-logits[:, rows.start]))
        average = scope * _average(np.clip(logits[:, rows.start + 1 : rows.stop] * SCALE, 0, SCALE), lens)
        in_scope = labels[:, rows.start] >= 0.5
        needles = _average(labels[:, rows.start + 1 : rows.stop], lens) >= lens.medium
        scope_precision += [average_precision_score(in_scope, scope)] if in_scope.any() else []
        medium_precision += [average_precision_score(needles, average)] if needles.any() else []
    scope_ap = float(np.mean(scope_precision)) if scope_precision else 0.0
    medium_ap = float(np.mean(medium_precision)) if medium_precision else 0.0
    return {"scope_ap": scope_ap, "medium_ap": medium_ap, "ranking": (scope_ap + medium_ap) / 2}
