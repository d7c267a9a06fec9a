"""Many filters over one article: one reading, one session, and no filter that stops the others."""

from __future__ import annotations

import itertools
import pickle
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from distilled_filters.errors import ChecksumError, RecordError, SettingError
from distilled_filters.filter import Filter, load
from distilled_filters.panel import BrokenFilterWarning, Panel
from distilled_filters.preprocess import Preprocessor, Window
from distilled_filters.scorers import onnx
from distilled_filters.scorers.onnx import Backbone
from distilled_filters.status import Status
from tests.conftest import (
    FILTERS,
    SHIPPED,
    SNIPPET,
    Document,
    House,
    edited,
    flip_byte,
    mixed_articles,
    poison,
    student,
)
from tests.test_filter import same


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often articles are read and encoded."""
    counted: Counter[str] = Counter()
    read, embed = Preprocessor.__call__, Backbone.embed

    def counted_read(self: Preprocessor, article: object) -> Window:
        counted["read"] += 1
        return read(self, article)  # type: ignore[arg-type]

    def counted_embed(self: Backbone, ids: object) -> object:
        counted["embed"] += 1
        return embed(self, ids)  # type: ignore[arg-type]

    monkeypatch.setattr(Preprocessor, "__call__", counted_read)
    monkeypatch.setattr(Backbone, "embed", counted_embed)
    return counted


def test_ac24_eight_filters_read_and_encode_an_article_once(panel: Panel, calls: Counter[str]) -> None:
    articles = mixed_articles(3)
    scored = panel.score_batch([*articles, None])
    assert [len(scores) for scores in scored] == [8, 8, 8, 8]
    assert calls == {"read": 3, "embed": 3}


def test_ac24_a_filter_that_reads_otherwise_costs_one_more_pass(house: House, calls: Counter[str]) -> None:
    folders = [house.add(name) for name in SHIPPED[:3]]
    with edited(folders[1] / "filter.toml") as spec:
        spec["preprocessing"]["head_tokens"] = 20
    scores = Panel([Filter(folder) for folder in folders]).score(SNIPPET * 4)
    assert calls == {"read": 2, "embed": 2}
    read = [score.tokens.read for score in scores.values() if score.tokens]
    assert read[1] < read[0] == read[2]


def screen(folder: Path, below: float) -> Filter:
    with edited(folder / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"]["screen_below"] = below
    return Filter(folder)


def test_a_screen_ends_early_without_the_encoder(house: House, calls: Counter[str]) -> None:
    folder = house.add()
    (article,) = mixed_articles(1)
    full = Filter(folder).score(article)
    assert (full.stage, calls["embed"]) == ("student", 1)
    ended = screen(folder, 1e6).score(article)
    assert (ended.stage, calls["embed"]) == ("screen", 1)
    assert (ended.status, ended.tier, ended.raw_weighted_average) == (Status.OK, "low", 0.0)
    assert ended.tokens is not None
    assert full.tokens is not None
    assert ended.tokens.read == ended.tokens.total == full.tokens.total, "a first look reads all words"
    assert ended.weighted_average is not None
    assert full.weighted_average is not None
    assert ended.weighted_average <= full.weighted_average
    assert same(screen(folder, -1e6).score(article), full)


def test_ac06_a_screen_does_not_ask_who_else_scores(house: House, calls: Counter[str]) -> None:
    """One filter's early end must not depend on whether another needs the encoder."""
    early, late = screen(house.add("uplifting"), 1e6), screen(house.add("belonging"), -1e6)
    (article,) = mixed_articles(1)
    scores = Panel([early, late]).score(article)
    assert [score.stage for score in scores.values()] == ["screen", "student"]
    assert calls["embed"] == 1
    assert same(scores["uplifting"], early.score(article))
    assert same(scores["belonging"], late.score(article))


def test_ac06_ac24_a_panel_gives_each_filter_s_own_scores_in_its_order(panel: Panel) -> None:
    (article,) = mixed_articles(1, seed=3)
    scores = panel.score(article)
    assert list(scores) == [each.name for each in panel.filters] == list(SHIPPED)
    for name, score in scores.items():
        assert score.provenance.filter == name
        assert same(score, load(name).score(article))
    backwards = Panel(reversed(SHIPPED)).score(article)
    assert list(backwards) == list(reversed(SHIPPED))
    assert all(same(backwards[name], scores[name]) for name in SHIPPED)


@pytest.mark.parametrize("threads", [1, 4])
def test_ac07_a_panel_keeps_the_order_and_reads_as_it_scores(threads: int) -> None:
    panel, drawn = Panel(["uplifting", "belonging"], threads=threads), list[int]()

    def stream() -> object:
        for number in itertools.count():
            drawn.append(number)
            yield {"id": number, "content": SNIPPET}

    scores = panel.score_iter(stream())  # type: ignore[arg-type]
    assert drawn == []
    assert [next(scores)["belonging"].id for _ in range(6)] == [str(number) for number in range(6)]
    assert len(drawn) <= 6 + 2 * threads


def test_ac08_a_bad_record_is_refused_by_every_filter(panel: Panel) -> None:
    scores = panel.score({"id": 5, "content": None})
    assert {(score.status, score.id) for score in scores.values()} == {(Status.INVALID, "5")}
    assert {name: score.provenance.filter for name, score in scores.items()} == {name: name for name in SHIPPED}
    with pytest.raises(RecordError) as caught:
        panel.score(b"bytes", strict=True)
    assert caught.value.status is Status.INVALID


def test_ac08_a_head_that_answers_nan_breaks_its_own_score_only(house: House) -> None:
    broken, whole = house.add("uplifting"), house.add("belonging")
    house.change_head(broken, poison(np.nan))
    panel = Panel([Filter(broken), Filter(whole)])
    scores = panel.score({"id": "a", "content": SNIPPET})
    assert {name: score.status for name, score in scores.items()} == {"uplifting": Status.ERROR, "belonging": Status.OK}
    assert scores["uplifting"].id == "a"
    assert scores["uplifting"].weighted_average is None
    with pytest.raises(RecordError):
        panel.score(SNIPPET, strict=True)


def test_ac14_all_filters_share_one_session(panel: Panel) -> None:
    backbones = {id(student(each).backbone) for each in panel.filters}
    backbones |= {id(student(load(name)).backbone) for name in SHIPPED}
    assert len(backbones) == 1


def test_ac14_eight_threads_at_once_open_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, start = list[object](), threading.Barrier(8)
    session = onnxruntime.InferenceSession

    def counted(*arguments: object, **options: object) -> object:
        opened.append(arguments)
        return session(*arguments, **options)

    monkeypatch.setattr(onnx, "_open", {})
    monkeypatch.setattr(onnxruntime, "InferenceSession", counted)

    def first(name: str) -> object:
        start.wait()
        return student(load(name)).backbone._session

    with ThreadPoolExecutor(8) as pool:
        sessions = {id(each) for each in pool.map(first, SHIPPED)}
    assert len(opened) == len(sessions) == 1


# --- one broken filter never stops the others ----------------------------------------------------------


def spoil_head(folder: Path, house: House) -> None:
    (folder / "head.safetensors").unlink()


def spoil_bytes(folder: Path, house: House) -> None:
    flip_byte(folder / "calibration.json")


def spoil_tensors(folder: Path, house: House) -> None:
    house.change_head(folder, lambda tensors: {"weight": tensors["weight"]})


def spoil_table(folder: Path, house: House) -> None:
    (folder / "percentiles.json").write_text("{}")
    house.redigest_spec(folder)


def spoil_backbone(folder: Path, house: House) -> None:
    """The filter asks for a backbone that is not installed."""
    with edited(folder / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"] |= {"backbone": "absent/v1", "backbone_sha256": "0" * 64}


@pytest.fixture
def three(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house of three filters that the registry reads; `belonging` is the one to spoil."""
    for name in SHIPPED[:3]:
        house.add(name)
    house.use(monkeypatch)
    return house


@pytest.mark.parametrize("spoil", [spoil_head, spoil_bytes, spoil_tensors, spoil_table, spoil_backbone])
def test_a_filter_with_broken_weights_does_not_stop_the_others(
    three: House, spoil: Callable[[Path, House], None]
) -> None:
    folder = three.root / "belonging" / "v1"
    spoil(folder, three)
    panel = Panel.all()
    with pytest.warns(BrokenFilterWarning, match="belonging cannot score: "):
        scores = panel.score({"id": "a", "content": SNIPPET})
    # A second warning would be an error here.
    batch = panel.score_batch([SNIPPET, None])
    assert [each["belonging"].status for each in batch] == [Status.ERROR, Status.ERROR]
    assert list(scores) == list(SHIPPED[:3])
    assert [score.status for score in scores.values()] == [Status.OK, Status.ERROR, Status.OK]
    broken = scores["belonging"]
    assert (broken.id, broken.weighted_average) == ("a", None)
    assert broken.detail == str(panel.broken["belonging"])
    with pytest.raises(type(panel.broken["belonging"])):
        panel.score(SNIPPET, strict=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [("name = ", "not readable TOML"), ('name = "belonging"', "required key is missing"), (None, "no such file")],
)
def test_a_filter_with_a_broken_spec_is_left_out(three: House, content: str | None, said: str) -> None:
    path = three.root / "belonging" / "v1" / "filter.toml"
    path.unlink() if content is None else path.write_text(content)
    with pytest.warns(BrokenFilterWarning, match=f"left out belonging: .*{said}"):
        panel = Panel.all()
    scores = panel.score(SNIPPET)
    assert {name: score.status for name, score in scores.items()} == {
        SHIPPED[0]: Status.OK,
        SHIPPED[2]: Status.OK,
    }


def test_ac20_a_filter_for_another_engine_is_left_out(three: House) -> None:
    with edited(three.root / "belonging" / "v1" / "filter.toml") as spec:
        spec["engine"] = ">=7"
    with pytest.warns(BrokenFilterWarning, match="left out belonging: .*pip install"):
        assert [each.name for each in Panel.all().filters] == [SHIPPED[0], SHIPPED[2]]


def test_a_filter_of_which_nothing_opens_is_an_error(three: House) -> None:
    for folder in three.root.glob("*/v1"):
        flip_byte(folder / "head.safetensors")
    with pytest.warns(BrokenFilterWarning), pytest.raises(ChecksumError):
        Panel.all().score(SNIPPET)


def test_a_mended_filter_scores_after_a_new_load(three: House) -> None:
    """As after `distillery prefetch` beside a running service."""
    head = three.root / "belonging" / "v1" / "head.safetensors"
    content = head.read_bytes()
    head.unlink()
    panel = Panel.all()
    with pytest.warns(BrokenFilterWarning):
        panel.load()
    head.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert panel.load().broken == {}
    assert panel.score(SNIPPET)["belonging"].status is Status.OK


def test_a_panel_needs_filters_with_names_of_their_own(uplifting: Filter) -> None:
    cases: list[list[Filter | str]] = [[], ["uplifting", uplifting], [uplifting, uplifting]]
    for filters in cases:
        with pytest.raises(SettingError, match="at least one filter, and none twice"):
            Panel(filters)


@pytest.mark.parametrize("filters", ["uplifting", None, 3, Filter(FILTERS / "uplifting" / "v1")], ids=str)
def test_a_panel_takes_a_list(filters: Any) -> None:
    with pytest.raises(SettingError, match=r"a panel takes a list of filters, such as Panel\(\['uplifting'\]\)"):
        Panel(filters)


def test_a_panel_takes_requirements_and_filters(uplifting: Filter) -> None:
    panel = Panel(["belonging==1.*", uplifting], threads=2)
    assert [each.name for each in panel.filters] == ["belonging", "uplifting"]
    assert panel.threads == 2
    assert repr(panel) == "<Panel of belonging, uplifting>"
    assert {score.status for score in panel.score(SNIPPET).values()} == {Status.OK}


def test_ac11_a_panel_s_filters_pickle(panel: Panel) -> None:
    content = pickle.dumps(panel.filters)
    assert len(content) < 8 * 10_000
    assert [each.name for each in pickle.loads(content)] == list(SHIPPED)


def test_ac10_a_panel_s_first_calls_may_come_at_once(examples: list[Document]) -> None:
    panel, start = Panel(SHIPPED), threading.Barrier(8)
    expected = Panel(SHIPPED).score(examples[10])

    def call(_: int) -> bool:
        start.wait()
        scores = panel.score(examples[10])
        return all(same(scores[name], expected[name]) for name in SHIPPED)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))
