"""A tiny encoder, a tiny corpus and two lenses: the whole training path in seconds."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from distilled_filters.preprocess import Window
from tests.training.encoders import loud_encoder, random_windows, write_base

ROOT = Path(__file__).parents[2]
LENSES = ("movement_growth", "uplifting")
_FILLER = ["the", "a", "of", "in", "and", "city", "people", "week", "report", "new", "said", "year", "group", "plan"]
# Words that give a lens away, so that even a tiny student can learn something.
_SIGNS = {"movement_growth": ["protest", "union", "march"], "uplifting": ["rescued", "healed", "freed"]}


@dataclass(frozen=True)
class Workshop:
    """Folders of one tiny training: base encoder, data, filters, run."""

    base: Path
    data: Path
    filters: Path
    run: Path


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A trained and exported tiny student for two lenses."""
    pytest.importorskip("torch")
    from distilled_filters.training.export import export
    from distilled_filters.training.train import Recipe, train

    root = tmp_path_factory.mktemp("workshop")
    place = Workshop(root / "base", root / "data", root / "filters", root / "run")
    write_base(place.base, words_of_data())
    make_data(place.data)
    for lens in LENSES:
        shutil.copytree(ROOT / "filters" / lens, place.filters / lens)
    recipe = Recipe(
        base=str(place.base),
        epochs=6,
        head_learning_rate=1e-2,
        encoder_learning_rate=1e-3,
        evaluate_every=9,
        bf16=False,
    )
    train(recipe, place.data, place.filters, place.run)
    export([place.run], place.filters, "tiny/v1", licence="MIT", data=place.data)
    return place


@pytest.fixture(scope="session")
def encoder() -> Any:
    """A tiny encoder that has an outlier unit; not to be changed."""
    pytest.importorskip("torch")
    return loud_encoder()


@pytest.fixture(scope="session")
def windows() -> list[Window]:
    """Windows of random pieces of that encoder's vocabulary."""
    return random_windows(12)


def words_of_data() -> list[str]:
    """Return the words that the tiny corpus is made of."""
    return [*_FILLER, *chain(*_SIGNS.values())]


def make_data(folder: Path) -> None:
    """Write a data folder of 240 articles, some of them in scope of one lens."""
    chance = random.Random(0)
    articles, labels = [], []
    for number in range(240):
        lens = chance.choice([None, *LENSES])
        words = chance.choices(_FILLER, k=60)
        scores = {}
        if lens:
            level = chance.choice([3.0, 5.0, 8.0])
            for place in chance.sample(range(60), k=int(level)):
                words[place] = chance.choice(_SIGNS[lens])
            scores = {lens: [level] * 6}
        name = f"row-{number}"
        split = ("train", "train", "train", "train", "validation", "test")[number % 6]
        articles.append({
            "id": name, "title": "report", "content": " ".join(words), "language": "en", "stratum": "natural",
            "cluster": name, "split": split,
        })  # fmt: skip
        labels.append({"id": name, "runs": [scores]})
    folder.mkdir()
    for file, rows in (("articles", articles), ("labels", labels), ("unlabelled", articles[:20])):
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
