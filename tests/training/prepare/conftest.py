"""Rows, files and a tiny folder of filters for the tests of `distillery prepare`; the words are made up."""

from __future__ import annotations

import json
import random
import shutil
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from distilled_filters.preprocess import Preprocessor
from distilled_filters.training.data import read_lenses
from tests.training.conftest import ROOT

LENS, OTHER = "uplifting", "belonging"
SCORES = [5.0] * 6


@pytest.fixture(scope="session")
def filters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two lenses over a backbone that is nothing but a tokenizer: a letter is a token."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    folder = tmp_path_factory.mktemp("lenses") / "filters"
    for lens in (LENS, OTHER):
        (folder / lens / "v1").mkdir(parents=True)
        shutil.copy(ROOT / "filters" / lens / "v1" / "filter.toml", folder / lens / "v1")
    known = ["<s>", "</s>", "<unk>", *string.ascii_lowercase, *string.punctuation]
    tokenizer = Tokenizer(models.WordLevel({token: number for number, token in enumerate(known)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("."), "isolated")]
    )
    (folder / "backbones" / "me5_small" / "v1").mkdir(parents=True)
    tokenizer.save(str(folder / "backbones" / "me5_small" / "v1" / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def preprocessor(filters: Path) -> Preprocessor:
    """What training reads with."""
    from tokenizers import Tokenizer

    (path,) = filters.rglob("tokenizer.json")
    return Preprocessor(read_lenses(filters)[0].preprocessing, Tokenizer.from_file(str(path)))


def text(seed: int, words: int = 60) -> str:
    """Readable English-like words; two seeds share next to no phrase of three."""
    syllables = ["ba", "ne", "ti", "ro", "lu", "ma", "so", "ke", "vi", "da"]
    chance = random.Random(seed)
    return " ".join("".join(chance.choices(syllables, k=chance.randint(2, 4))) for _ in range(words))


def article(id_: str, seed: int | None = None, **fields: Any) -> dict[str, Any]:
    content = text(sum(map(ord, id_)) * 1000 + int("".join(filter(str.isdigit, id_)) or 0) if seed is None else seed)
    return {"id": id_, "title": "Report", "content": content, "language": "en", "stratum": "natural", **fields}


def label(id_: str, *runs: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": id_, "runs": list(runs) or [{}]}


def write(path: Path, rows: Iterable[object]) -> Path:
    """Write JSON lines; a row that is text already is written as it is."""
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
