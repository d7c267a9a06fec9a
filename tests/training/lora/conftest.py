"""A tiny language model, and an expert trained and exported on it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import FILTERS
from tests.language_models import make_language_model
from tests.training.conftest import make_data, words_of_data

if TYPE_CHECKING:
    from distilled_filters.training.lora.recipe import ExpertRecipe


@dataclass(frozen=True)
class Forge:
    """Folders of one tiny expert's training."""

    base: Path
    data: Path
    filters: Path
    run: Path


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Forge:
    """A trained and exported expert for `uplifting`."""
    pytest.importorskip("torch")
    pytest.importorskip("peft")
    from distilled_filters.training.lora.export import export_expert
    from distilled_filters.training.lora.train import train_expert

    root = tmp_path_factory.mktemp("forge")
    place = Forge(root / "tiny-lm", root / "data", root / "filters", root / "run")
    make_language_model(place.base, words_of_data())
    make_data(place.data)
    for lens in ("uplifting", "movement_growth"):
        shutil.copytree(FILTERS / lens, place.filters / lens)
    train_expert(recipe(place), place.data, place.filters, place.run)
    export_expert(place.run, place.filters, "tiny_lm/v1", "tiny-lora", licence="Apache-2.0")
    return place


def recipe(forge: Forge, **fields: Any) -> ExpertRecipe:
    """Return a recipe that learns the tiny corpus in seconds, with other fields if asked to."""
    from distilled_filters.training.lora.recipe import make_expert_recipe

    given = {
        "base": str(forge.base), "filters": ("uplifting",), "epochs": 4, "encoder_learning_rate": 5e-3,
        "head_learning_rate": 1e-2, "evaluate_every": 9, "head_tokens": 60, "tail_tokens": 20, "bf16": False,
    }  # fmt: skip
    return make_expert_recipe({**given, **fields})
