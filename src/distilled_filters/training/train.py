"""Fine-tune a shared encoder and all heads on a data folder; resumes where it was stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# Busy-waiting OpenMP barriers make torch many times slower beside any other process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from safetensors.torch import load_model, save_model
from sklearn.metrics import average_precision_score
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from distilled_filters.preprocess import Preprocessor
from distilled_filters.spec import LensSpec
from distilled_filters.training.data import Example, read_examples, read_lenses, select
from distilled_filters.training.student import SCALE, Student

__all__ = ["Recipe", "shared_preprocessing", "tokenizer_file", "train"]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run beside its data.

    Attributes:
        base: The base encoder, a Hub id or a folder.
        layers: How many of its first layers to keep; None for all.
        start: The folder of a finished run whose student this one goes on from.
        epochs: Passes over as many articles as the training split has.
        batch_size: Articles a step.
        encoder_learning_rate: The peak for the encoder (AdamW, cosine decay).
        head_learning_rate: The peak for the heads.
        warmup: The share of all steps over which the rates rise.
        weight_decay: As in AdamW.
        regression: A name in `losses.REGRESSION`.
        ranking: Weights of losses in `losses.RANKING`.
        needle_weight: How many times as often an article of the medium tier or above in
            any lens is drawn; at 1 every article is drawn once an epoch.
        evaluate_every: Steps between looks at the validation split, and between checkpoints.
        patience: Looks without a better ranking on validation before training stops; None
            for all epochs. Either way the best checkpoint by that ranking is kept.
        bf16: bfloat16 autocast.
        seed: Of shuffling and dropout.
    """

    base: str
    layers: int | None = None
    start: str | None = None
    epochs: float = 3
    batch_size: int = 16
    encoder_learning_rate: float = 7e-5
    head_learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    regression: str = "huber"
    ranking: dict[str, float] = field(default_factory=dict)
    needle_weight: float = 1
    evaluate_every: int = 200
    patience: int | None = None
    bf16: bool = True
    seed: int = 20


class _Rows(torch.utils.data.Dataset[dict[str, Any]]):
    def __init__(self, examples: Sequence[Example], lenses: Sequence[LensSpec]) -> None:
        self._examples = examples
        self._lenses = lenses

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._examples[index]
        labels = [example.labels[lens.name] for lens in self._lenses]
        row = np.concatenate([np.concatenate([[label.scope], label.dimensions]) for label in labels])
        return {"input_ids": torch.from_numpy(example.window.ids), "labels": torch.from_numpy(row).float()}


def _collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    ids = [row["input_ids"] for row in rows]
    return {
        "input_ids": torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=1),
        "attention_mask": torch.nn.utils.rnn.pad_sequence([torch.ones_like(i) for i in ids], batch_first=True),
        "labels": torch.stack([row["labels"] for row in rows]),
    }


class _StudentTrainer(Trainer):
    """The Hugging Face Trainer with a larger learning rate for the fresh heads, and needle sampling."""

    recipe: Recipe
    needles: Sequence[bool]
    optimizer: Any

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.recipe.needle_weight == 1:
            return super()._get_train_sampler(train_dataset)
        weights = [self.recipe.needle_weight if needle else 1.0 for needle in self.needles]
        generator = torch.Generator().manual_seed(self.recipe.seed)
        return torch.utils.data.WeightedRandomSampler(weights, len(weights), generator=generator)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            student = self.model
            encoder = [p for p in student.encoder.parameters() if p.requires_grad]
            self.optimizer = torch.optim.AdamW(
                [
                    {"params": encoder, "lr": self.recipe.encoder_learning_rate},
                    {"params": list(student.head.parameters()), "lr": self.recipe.head_learning_rate},
                ],
                weight_decay=self.recipe.weight_decay,
            )
        return self.optimizer


def train(recipe: Recipe, data: Path, filters: Path, output: Path) -> Path:
    """Train one student for every lens under `filters`; return the folder with its weights.

    Writes `output/student.safetensors`, `output/recipe.json` and the Trainer's
    checkpoints, from which a second call with the same output goes on.
    """
    lenses = read_lenses(filters)
    tokenizer = Tokenizer.from_file(str(tokenizer_file(recipe.base)))
    preprocessor = Preprocessor(shared_preprocessing(lenses), tokenizer)
    examples = read_examples(data, lenses, preprocessor)
    student = Student(recipe.base, lenses, recipe.layers, regression=recipe.regression, ranking=recipe.ranking)
    training, validation = select(examples, "train"), select(examples, "validation")
    rows = _Rows(training, lenses)
    if recipe.start:
        load_model(student, str(Path(recipe.start) / "student.safetensors"))
    else:
        student.start_from(_sample_embeddings(student, rows), torch.stack([row["labels"] for row in rows]))
    trainer = _StudentTrainer(
        model=student,
        args=_arguments(recipe, output, len(training)),
        train_dataset=rows,
        eval_dataset=_Rows(validation, lenses),
        data_collator=_collate,
        compute_metrics=lambda prediction: _ranking(prediction, student, lenses),
        callbacks=[EarlyStoppingCallback(recipe.patience)] if recipe.patience else [],
    )
    trainer.recipe = recipe
    trainer.needles = [_is_needle(example, lenses) for example in training]
    checkpoints = output / "checkpoints"
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None)
    save_model(student, str(output / "student.safetensors"))
    record = {"recipe": asdict(recipe), "rows": len(training), "history": trainer.state.log_history}
    (output / "recipe.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return output


def _arguments(recipe: Recipe, output: Path, articles: int) -> TrainingArguments:
    steps = int(np.ceil(articles / recipe.batch_size) * recipe.epochs)
    return TrainingArguments(
        output_dir=str(output / "checkpoints"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        learning_rate=recipe.encoder_learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(recipe.warmup * steps),
        max_grad_norm=1.0,
        bf16=recipe.bf16,
        use_cpu=not torch.cuda.is_available(),
        seed=recipe.seed,
        eval_strategy="steps",
        eval_steps=recipe.evaluate_every,
        save_steps=recipe.evaluate_every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="ranking",
        logging_steps=20,
        report_to=[],
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_num_workers=0,
    )


def _is_needle(example: Example, lenses: Sequence[LensSpec]) -> bool:
    return any(_average(example.labels[lens.name].dimensions, lens) >= _medium(lens) for lens in lenses)


def _average(dimensions: Any, lens: LensSpec) -> Any:
    """Return ungated weighted averages of dimensions (..., d)."""
    return dimensions @ np.array([dimension.weight for dimension in lens.dimensions])


def _medium(lens: LensSpec) -> float:
    return next(tier.at_least for tier in lens.tiers if tier.name == "medium")


@torch.no_grad()
def _sample_embeddings(student: Student, rows: _Rows) -> Tensor:
    """Embed every n-th training article by the base encoder, some hundreds in all."""
    student.eval()
    batches = [_collate([rows[index]]) for index in range(0, len(rows), max(1, len(rows) // 384))]
    embeddings = [student.embed(batch["input_ids"], batch["attention_mask"]) for batch in tqdm(batches, desc="base")]
    student.train()
    return torch.cat(embeddings)


def shared_preprocessing(lenses: Sequence[LensSpec]) -> Any:
    """Return the one preprocessing of all lenses.

    Raises:
        ValueError: when lenses that are to share an encoder read articles differently.
    """
    settings = {lens.preprocessing for lens in lenses}
    if len(settings) != 1:
        raise ValueError("lenses that share an encoder must share [preprocessing]; theirs differ")
    return settings.pop()


def tokenizer_file(base: str) -> Path:
    """Return the `tokenizer.json` of a base encoder, a folder or a Hub id."""
    folder = Path(base)
    if folder.is_dir():
        return folder / "tokenizer.json"
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(base, "tokenizer.json"))


def _ranking(prediction: EvalPrediction, student: Student, lenses: Sequence[LensSpec]) -> dict[str, float]:
    """Mean average precision over lenses of scope and of the medium tier, on the validation split."""
    logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    scope_precision, medium_precision = [], []
    for lens in lenses:
        rows = student.rows[lens.name]
        scope = 1 / (1 + np.exp(-logits[:, rows.start]))
        average = scope * _average(np.clip(logits[:, rows.start + 1 : rows.stop] * SCALE, 0, SCALE), lens)
        true_average = _average(labels[:, rows.start + 1 : rows.stop], lens)
        scope_precision.append(average_precision_score(labels[:, rows.start] >= 0.5, scope))
        medium_precision.append(average_precision_score(true_average >= _medium(lens), average))
    scope_ap, medium_ap = float(np.mean(scope_precision)), float(np.mean(medium_precision))
    return {"scope_ap": scope_ap, "medium_ap": medium_ap, "ranking": (scope_ap + medium_ap) / 2}
