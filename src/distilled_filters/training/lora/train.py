"""Train an expert for one filter, or several, on a data folder; resumes where it was stopped."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from transformers.utils import logging

from distilled_filters.errors import SettingError
from distilled_filters.preprocess import Preprocessor, SpecialTokens, open_tokenizer
from distilled_filters.spec import LensSpec, Preprocessing
from distilled_filters.training import record
from distilled_filters.training.batches import Rows, label_rows
from distilled_filters.training.course import check_data, chosen, last_checkpoint, run_course, start_head
from distilled_filters.training.data import Example, read_examples, read_lenses, select, shared_preprocessing
from distilled_filters.training.lora.base import LanguageModel, find_language_model
from distilled_filters.training.lora.recipe import ExpertRecipe
from distilled_filters.training.lora.student import make_expert
from distilled_filters.training.trainer import is_needle

__all__ = ["reader_of", "train_expert"]


def train_expert(recipe: ExpertRecipe, data: Path, filters: Path, output: Path) -> Path:
    """Train an adapter and a head for every filter of the recipe; return the run's folder.

    The folder is like an encoder student's (`training.train`); its `student.safetensors`
    holds what was learnt, without the language model.

    Args:
        recipe: How to train.
        data: A folder with `articles.jsonl` and `labels.jsonl`.
        filters: The folder of filter folders.
        output: The run's folder; made where it is missing.

    Raises:
        SettingError: when recipe, data, filters and what `output` holds do not go together.
        CheckpointError: when the language model cannot be used, or does not fit.
    """
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    lenses = chosen(read_lenses(filters), recipe.filters)
    base = find_language_model(recipe.base, recipe.revision)
    preprocessor = reader_of(recipe, shared_preprocessing(lenses), base)
    examples = read_examples(data, lenses, preprocessor)
    training, validation = _part(select(examples, "train"), lenses, recipe), select(examples, "validation")
    check_data(training, validation, lenses, data)
    files = {name: data / name for name in ("articles.jsonl", "labels.jsonl")}
    files |= {f"base/{path.name}": path for path in (base.config, base.tokenizer, *base.weights)}
    splits = [example.split for example in (*training, *validation)]
    record.begin(output, recipe.model_dump(mode="json"), lenses, record.digests(files, splits))
    if record.is_finished(output):
        return output

    expert = make_expert(recipe, base, lenses)
    rows = Rows([example.window for example in training], label_rows(training, lenses))
    if last_checkpoint(output) is None:
        start_head(expert, rows, rows.labels)
    run_course(expert, recipe, lenses, rows, [is_needle(each, lenses) for each in training], validation, output)
    return output


def reader_of(recipe: ExpertRecipe, settings: Preprocessing, base: LanguageModel) -> Preprocessor:
    """Return what reads articles as the recipe says.

    Raises:
        SettingError: when the window is longer than the model reads.
    """
    window = {"prefix": recipe.prefix, "head_tokens": recipe.head_tokens, "tail_tokens": recipe.tail_tokens}
    special = SpecialTokens(base.start, base.end, None)
    reader = Preprocessor(settings.model_copy(update=window), open_tokenizer(base.tokenizer), special)
    if reader.window_tokens > base.max_tokens:
        raise SettingError(
            f"windows of {reader.window_tokens} tokens are longer than the {base.max_tokens} that {base.name} reads; "
            "lower --head-tokens or --tail-tokens"
        )
    return reader


def _part(training: Sequence[Example], lenses: Sequence[LensSpec], recipe: ExpertRecipe) -> list[Example]:
    """Return all training articles, or so many: half in scope, the best first, the others drawn at random."""
    if recipe.articles is None or recipe.articles >= len(training):
        return list(training)
    chance = random.Random(recipe.seed)
    shuffled = chance.sample(training, len(training))
    best = {id(each): max(_mean(each, lens) for lens in lenses) for each in shuffled}
    inside = sorted((each for each in shuffled if best[id(each)] > 0), key=lambda each: -best[id(each)])
    kept = inside[: recipe.articles // 2]
    outside = [each for each in shuffled if best[id(each)] == 0]
    # Articles drawn at natural rates first: the others were picked because they look alike.
    outside.sort(key=lambda each: each.stratum != "natural")
    rest = recipe.articles - len(kept)
    natural = outside[: rest // 2]
    return [*kept, *natural, *chance.sample(outside[rest // 2 :], min(rest - len(natural), len(outside) - rest // 2))]


def _mean(example: Example, lens: LensSpec) -> float:
    return float(example.labels[lens.name].dimensions.mean())
