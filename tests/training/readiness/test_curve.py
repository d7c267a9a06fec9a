"""The learning curve: more articles, better words; the same seed, the same figures."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("phonenumbers")

from distilled_filters.training.data import DatasetError
from distilled_filters.training.readiness.curve import learning_curve
from distilled_filters.training.readiness.material import read_material
from tests.training.prepare.conftest import LENS, article, label, text, write


def test_a_curve_rises_and_repeats_itself(tmp_path: Path, filters: Path) -> None:
    chance = random.Random(0)
    signs = [f"sign{chr(97 + number)}" for number in range(20)]
    articles, labels = [], []
    for number in range(300):
        positive = chance.random() < 0.3
        words = text(number) + (f" {' '.join(chance.choices(signs, k=2))}" if positive else "")
        name = f"row-{number}"
        articles.append(article(name, content=words, split="validation" if number % 4 == 0 else "train"))
        labels.append(label(name, {LENS: [6.0] * 6} if positive else {}))
    write(tmp_path / "articles.jsonl", articles)
    write(tmp_path / "labels.jsonl", labels)
    material = read_material(tmp_path, [], filters, [LENS])
    curve = learning_curve(material)
    assert [(point.share, point.articles) for point in curve] == [(0.1, 22), (0.25, 56), (0.5, 112), (1.0, 225)]
    precisions = [point.figures["medium_average_precision"] or 0.0 for point in curve]
    assert precisions[-1] > precisions[0] + 0.1
    assert curve[-1].lenses == {LENS: precisions[-1]}
    assert learning_curve(material) == curve


def test_without_splits_there_is_no_curve(data: Path, filters: Path) -> None:
    with pytest.raises(DatasetError, match=r"there are 36 and 12\. Make splits"):
        learning_curve(read_material(data, [], filters, [LENS]))
