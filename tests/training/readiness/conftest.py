"""Made-up articles with labels, and facts that would earn every measured point."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest

from distilled_filters.training.readiness.answers import Answers, Need
from distilled_filters.training.readiness.facts import Copies, Facts, LensFacts
from distilled_filters.training.readiness.privacy import Privacy
from distilled_filters.training.readiness.redundancy import Redundancy
from distilled_filters.training.readiness.releases import Release
from tests.training.prepare.conftest import LENS, article, filters, label, preprocessor, write

__all__ = ["filters", "preprocessor"]

LEVELS = (0.0, 0.0, 3.0, 4.5, 7.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of 60 articles for one lens: splits, sources, an e-mail address, a copy in two splits."""
    return make_data(tmp_path / "data")


def make_data(folder: Path) -> Path:
    chance = random.Random(1)
    articles, labels = [], []
    for number in range(60):
        split = ("train", "train", "train", "validation", "test")[number % 5]
        row = article(f"row-{number}", split=split, source=f"paper {number % 3}")
        articles.append(row)
        level = LEVELS[number % len(LEVELS)]
        scores = [min(10.0, level + chance.random()) for _ in range(6)] if level else None
        runs = [{LENS: scores} if scores else {}]
        labels.append(label(row["id"], *(runs * 2 if number < 20 else runs)))
    articles[0]["content"] += " Write to desk@paper.example or call +31 20 624 1111."
    articles[3]["content"], articles[3]["title"] = articles[1]["content"], articles[1]["title"]
    articles[5]["reviewed"] = True
    write(folder / "articles.jsonl", [*articles, {"id": "wall", "title": "", "content": ""}])
    write(folder / "labels.jsonl", labels)
    return folder


def good_facts(**changes: Any) -> Facts:
    """Facts that earn every point that files can earn."""
    facts = Facts(
        articles=2000, labelled=2000, refused={}, bad_labels={}, tokens=[100, 300, 500] * 600, window=250,
        truncated=0.5, short=10, splits={"train": 1600, "validation": 200, "test": 200},
        strata={"natural": 1000, "enriched": 1000}, languages={"en": 1000, "nl": 1000}, wanted=["en", "nl"],
        sources={"one": 300, "other": 300, "unstated": 1400}, reviewed=200, read_twice=100, oracles={"large": 2000},
        label_rows=2000, copies=Copies(0, 3, 0, 0), privacy=Privacy(articles=2000), card_holds=True, gates=True,
        lenses=[good_lens()], curve=[],
    )  # fmt: skip
    return dataclasses.replace(facts, **changes)


def good_lens(**changes: Any) -> LensFacts:
    """A lens that earns every point."""
    lens = LensFacts(
        name=LENS, medium=4.0, labelled=2000, in_scope=900, tiers={"high": 50, "medium": 150, "low": 1800},
        reaching={"all": 200, "held_out": 40, "real": 150}, yields={"natural": {"labelled": 1000, "reaching": 20}},
        histogram=[100, 200, 200, 200, 100, 50, 30, 10, 5, 5], edges={"near_boundary": 100, "gated": 20},
        top_source=("one", 0.1),
        redundancy=Redundancy(900, 0.5, ["one", "two"], [[1.0, 0.3], [0.3, 1.0]], ("one", "two", 0.3)),
        agreement={"articles": 100, "average_mae": 0.1, "tier_agreement": 0.98, "scope_agreement": 0.95,
                   "tier_kappa": 0.8},
        prompts=[],
        release=Release(
            version="1.0.0", prompt_holds=True, golden=True, percentiles=True, metrics_hold=True,
            student={"medium_average_precision": 0.7, "in_scope_dimension_mae": 1.5},
            teacher={"medium_average_precision": 0.9, "in_scope_dimension_mae": 0.5},
            baseline={"medium_average_precision": 0.5, "in_scope_dimension_mae": 2.0},
        ),
    )  # fmt: skip
    return dataclasses.replace(lens, **changes)


ALL_ANSWERS = Answers(
    need=Need.COST, prompt_works=True, articles_per_day=5000, stable=True, success=True, personal_data_settled=True,
    reviewed_share=0.1, labelling_usd=500, training_usd=100, oracle_usd_per_1000=2, student_usd_per_1000=0.01,
    upkeep=True, drift=True, feedback=True, retrain_when=True, owner=True,
)  # fmt: skip
