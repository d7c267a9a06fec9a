"""The cascade: who decides, to the bit; and what is refused when it is opened, not later."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from distilled_filters.cli.checks import file_checks
from distilled_filters.errors import CheckpointError, ChecksumError, MissingFileError, SpecError
from distilled_filters.filter import Filter
from distilled_filters.panel import Panel
from distilled_filters.result import Score
from distilled_filters.scorers import decoder
from distilled_filters.scorers.base import EXPERT, SCREEN, STUDENT
from distilled_filters.spec import read_filter_spec
from tests.compositions import add_cascade, add_ensemble, fingerprints
from tests.conftest import SNIPPET, Document, House, edited, edited_json, flip_byte, mixed_articles
from tests.language_models import CHECKPOINT, add_expert, redigest

ARTICLES = mixed_articles(6, shortest=20, longest=60)


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test begin with no language model open, and none look a name up (AC1, AC3)."""
    monkeypatch.setattr(decoder, "_open", {})
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))


@pytest.fixture
def home(house: House) -> Path:
    """A filter with a student, an expert, and a cascade that always asks it."""
    home = add_expert(house)
    add_cascade(home, [(0.0, 10.0)])
    return home


def cascade(home: Path) -> Filter:
    return Filter(home, checkpoint="cascade", device="cpu")


def alone(home: Path, name: str) -> Filter:
    return Filter(home, checkpoint=name, device="cpu")


def but_for_provenance(score: Score, like: Score) -> Score:
    return replace(score, provenance=like.provenance)


# --- who decides ---------------------------------------------------------------------------------------


def test_what_the_expert_decides_is_its_score_to_the_bit(home: Path) -> None:
    each, expert = cascade(home), alone(home, CHECKPOINT)
    for article in ARTICLES:
        found, expected = each.score(article), expert.score(article)
        assert but_for_provenance(found, expected) == expected
        assert found.stage == EXPERT


def test_what_the_student_decides_is_its_score_to_the_bit(home: Path) -> None:
    add_cascade(home, [])
    each, student = cascade(home), alone(home, "me5_small")
    for article in ARTICLES:
        found, expected = each.score(article), student.score(article)
        assert but_for_provenance(found, expected) == expected
        assert found.stage == STUDENT


def test_the_student_s_average_decides_who_is_asked(home: Path) -> None:
    student = alone(home, "me5_small")
    averages = sorted(student.score(article).weighted_average or 0.0 for article in ARTICLES)
    assert len(set(averages)) == len(averages)
    chosen = averages[2:4]
    add_cascade(home, [(chosen[0], chosen[-1])])
    each = cascade(home)
    for article in ARTICLES:
        asked = student.score(article).weighted_average in chosen
        assert each.score(article).stage == (EXPERT if asked else STUDENT), "both ends belong to a range"


def test_what_the_first_look_ends_never_reaches_the_expert(home: Path) -> None:
    with edited(home / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"]["screen_below"] = 1e6
    add_cascade(home, [(0.0, 10.0)])
    assert cascade(home).score(SNIPPET).stage == SCREEN


def test_what_the_student_cannot_read_is_refused(home: Path) -> None:
    score = cascade(home).score({"id": "a", "content": "too short"})
    assert (score.status.value, score.stage) == ("too_short", None)


def test_a_cascade_is_a_checkpoint_like_any_other(home: Path) -> None:
    each = Filter(home).with_checkpoint("cascade", device="cpu")
    score = each.score(SNIPPET)
    copy = pickle.loads(pickle.dumps(each))
    assert copy.score(SNIPPET) == score
    copy.unload()
    assert Panel([each]).score(SNIPPET) == {"uplifting": score}
    said = score.provenance
    assert (said.checkpoint, said.backbone) == ("cascade", "me5_small/v1 + tiny_lm/v1")
    assert said.head_sha256 == each.weights.files[0].sha256
    assert len(said.backbone_sha256) == 64
    each.unload()
    assert decoder._open == {}
    with edited(home / "filter.toml") as spec:
        spec["default_checkpoint"] = "cascade"
    assert Filter(home, device="cpu").score(SNIPPET) == score


# --- opened whole, or not at all -----------------------------------------------------------------------


def remove_adapter(home: Path) -> None:
    (home / CHECKPOINT / "adapter_model.safetensors").unlink()


def damage_adapter(home: Path) -> None:
    flip_byte(home / CHECKPOINT / "adapter_model.safetensors")


def damage_route(home: Path) -> None:
    flip_byte(home / "cascade" / "cascade.json")


def remove_route(home: Path) -> None:
    (home / "cascade" / "cascade.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "file"),
    [
        (remove_adapter, MissingFileError, "adapter_model"),
        (damage_adapter, ChecksumError, "adapter_model"),
        (remove_route, MissingFileError, "cascade.json"),
        (damage_route, ChecksumError, "cascade.json"),
    ],
)
def test_a_file_is_missed_at_load_though_no_article_would_ask_the_expert(
    home: Path, spoil: Callable[[Path], None], error: type[Exception], file: str
) -> None:
    add_cascade(home, [])
    spoil(home)
    with pytest.raises(error, match=file):
        cascade(home).load()
    assert decoder._open == {}


def test_a_route_fitted_to_other_tables_is_refused(home: Path) -> None:
    """Ranges are of calibrated averages, so a new calibration moves them."""
    before = fingerprints(home)
    with edited_json(home / CHECKPOINT / "calibration.json") as table:
        table["intervals"]["half_widths"] = [9.0]
    redigest(home)
    assert fingerprints(home) != before
    with pytest.raises(CheckpointError, match=r"tiny_lora changed since.*run `distillery cascade` again"):
        cascade(home).load()
    broken = [check for check in file_checks(Filter(home)) if check.problem]
    assert ["tiny_lora changed" in (check.problem or "") for check in broken] == [True]


def test_where_it_is_published_does_not_matter(home: Path) -> None:
    before = fingerprints(home)
    with edited(home / "filter.toml") as spec:
        for entry in spec["checkpoints"].values():
            entry["hub"] = {"repo": "a/b", "revision": "0" * 40}
    assert fingerprints(home) == before
    assert cascade(home).score(SNIPPET).stage == EXPERT


@pytest.mark.parametrize("ask", [[(3.0, 2.0)], [(1.0, 3.0), (2.0, 4.0)], [(-1.0, 2.0)], [(1.0, 11.0)]])
def test_ranges_that_cannot_be_are_refused(home: Path, ask: list[tuple[float, float]]) -> None:
    add_cascade(home, ask)
    with pytest.raises(CheckpointError, match=r"cascade\.json: not the file of a cascade"):
        cascade(home).load()


# --- specs ---------------------------------------------------------------------------------------------


def unknown_student(entry: Document) -> None:
    entry["student"] = "nope"


def of_itself(entry: Document) -> None:
    entry["expert"] = "cascade"


def of_an_ensemble(entry: Document) -> None:
    entry["expert"] = "ensemble"


def upside_down(entry: Document) -> None:
    entry["student"], entry["expert"] = entry["expert"], entry["student"]


def without_expert(entry: Document) -> None:
    del entry["expert"]


def with_a_head(entry: Document) -> None:
    entry["head"] = entry["route"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unknown_student, r"checkpoints\.cascade is made of 'nope', which is none of \['me5_small'"),
        (of_itself, r"made of 'cascade', itself a checkpoint made of others \(cascade\)"),
        (of_an_ensemble, r"made of 'ensemble', itself a checkpoint made of others \(ensemble\)"),
        (upside_down, "to a lora or merged expert, not from lora to zero_inflated_linear"),
        (without_expert, r"checkpoints\.cascade\.expert: required key is missing"),
        (with_a_head, r"checkpoints\.cascade\.head: unknown key"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(home: Path, change: Callable[[Document], None], message: str) -> None:
    add_ensemble(home, {"me5_small": [0.5] * 6, CHECKPOINT: [0.5] * 6})
    with edited(home / "filter.toml") as spec:
        change(spec["checkpoints"]["cascade"])
    with pytest.raises(SpecError, match=message):
        read_filter_spec(home / "filter.toml")


# --- what a load needs ---------------------------------------------------------------------------------


def test_ac03_prefetch_names_the_files_of_all_parts_once(home: Path) -> None:
    hub = {"repo": "a/b", "revision": "0" * 40}
    with edited(home / "filter.toml") as spec:
        for entry in spec["checkpoints"].values():
            entry["hub"] = hub
    backbone = home.parent.parent / "backbones" / "tiny_lm" / "v1"
    with edited(backbone / "backbone.toml") as spec:
        spec["hub"] = hub
    for path in (*home.glob("*.safetensors"), *home.glob("*/*.*"), *home.glob("*.json"), *backbone.glob("*.*")):
        if path.name not in ("backbone.toml", "metrics.json"):
            path.unlink()
    found = [ref.path for ref, _ in cascade(home).remote_files()]
    assert len(found) == len(set(found))
    assert set(found) == {
        "cascade/cascade.json", "head.safetensors", "calibration.json", "percentiles.json",
        *(f"{CHECKPOINT}/{name}" for name in (
            "adapter_model.safetensors", "adapter_config.json", "head.safetensors", "calibration.json",
            "percentiles.json",
        )),
        "config.json", "tokenizer.json", "model.safetensors",
    }  # fmt: skip
    with pytest.raises(MissingFileError, match=r"distillery prefetch uplifting==\S+ --checkpoint cascade"):
        cascade(home).load()
