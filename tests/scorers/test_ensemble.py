"""The ensemble: its answer is its members', and how far they part is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from distilled_filters.errors import CheckpointError, SpecError
from distilled_filters.filter import Filter
from distilled_filters.scorers import decoder
from distilled_filters.service.schema import ScoreRow
from distilled_filters.spec import read_filter_spec
from tests.compositions import add_ensemble
from tests.conftest import SNIPPET, Document, House, edited, mixed_articles
from tests.language_models import CHECKPOINT, add_expert

ARTICLES = mixed_articles(4, shortest=20, longest=60)


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test begin with no language model open."""
    monkeypatch.setattr(decoder, "_open", {})


@pytest.fixture
def home(house: House) -> Path:
    """A filter with a student, an expert, and their mean."""
    home = add_expert(house)
    add_ensemble(home, {"me5_small": [0.5] * 6, CHECKPOINT: [0.5] * 6})
    return home


def on(home: Path, name: str) -> Filter:
    return Filter(home, checkpoint=name, device="cpu")


def test_the_mean_is_exact_and_the_distance_of_the_members_is_told(home: Path) -> None:
    together, *members = (on(home, name) for name in ("ensemble", "me5_small", CHECKPOINT))
    for article in ARTICLES:
        score, scores = together.score(article), [each.score(article) for each in members]
        expected = np.mean([list((each.dimensions or {}).values()) for each in scores], axis=0)
        assert list((score.dimensions or {}).values()) == expected.tolist()
        averages = [each.weighted_average or 0.0 for each in scores]
        assert score.disagreement == max(averages) - min(averages) > 0
        assert (score.stage, score.tokens) == ("expert", scores[1].tokens)
        assert [each.disagreement for each in scores] == [None, None]
        assert ScoreRow.model_validate(score.to_dict()).disagreement == pytest.approx(score.disagreement, abs=1e-4)
    together.unload()
    members[1].unload()
    assert decoder._open == {}


def test_factors_count_and_stay_on_the_scale(home: Path) -> None:
    add_ensemble(home, {"me5_small": [1.0] * 6, CHECKPOINT: [0.0] * 6})
    assert on(home, "ensemble").score(SNIPPET).dimensions == on(home, "me5_small").score(SNIPPET).dimensions
    add_ensemble(home, {"me5_small": [0.0] * 6, CHECKPOINT: [1e6] * 6})
    assert max((on(home, "ensemble").score(SNIPPET).dimensions or {}).values()) == 10.0


@pytest.mark.parametrize(
    "factors",
    [
        {"me5_small": [0.5] * 5, CHECKPOINT: [0.5] * 6},
        {"me5_small": [0.5] * 6, CHECKPOINT: [-0.5] * 6},
    ],
)
def test_factors_that_cannot_be_are_refused(home: Path, factors: dict[str, list[float]]) -> None:
    add_ensemble(home, factors)
    with pytest.raises(CheckpointError, match=r"ensemble\.json"):
        on(home, "ensemble").load()
    assert decoder._open == {}


def test_a_member_without_factors_is_refused(home: Path) -> None:
    add_ensemble(home, {"me5_small": [0.5] * 6, CHECKPOINT: [0.5] * 6})
    with edited(home / "filter.toml") as spec:
        spec["checkpoints"]["me5_other"] = spec["checkpoints"]["me5_small"]
        spec["checkpoints"]["ensemble"]["members"] = ["me5_small", CHECKPOINT, "me5_other"]
    with pytest.raises(CheckpointError, match="me5_other changed since"):
        on(home, "ensemble").load()


def once(entry: Document) -> None:
    entry["members"] = ["me5_small"]


def twice(entry: Document) -> None:
    entry["members"] = ["me5_small", "me5_small"]


def unknown(entry: Document) -> None:
    entry["members"] = ["me5_small", "nope"]


def by_vote(entry: Document) -> None:
    entry["method"] = "vote"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (once, r"checkpoints\.ensemble\.members"),
        (twice, "member 'me5_small' stands twice"),
        (unknown, "made of 'nope'"),
        (by_vote, r"checkpoints\.ensemble\.method"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(home: Path, change: Callable[[Document], None], message: str) -> None:
    with edited(home / "filter.toml") as spec:
        change(spec["checkpoints"]["ensemble"])
    with pytest.raises(SpecError, match=message):
        read_filter_spec(home / "filter.toml")
