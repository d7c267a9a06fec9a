"""One filter: the same score alone or in company, in any thread and any process; typed refusals."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import distilled_filters
from distilled_filters import filter as filter_module
from distilled_filters.article import Article
from distilled_filters.errors import (
    CheckpointError,
    DistilledFiltersError,
    IncompatibleEngineError,
    NonFiniteScoreError,
    RecordError,
    SpecError,
    UnknownFilterError,
)
from distilled_filters.filter import Filter, load
from distilled_filters.result import Score
from distilled_filters.status import Status
from tests.conftest import (
    FILTERS,
    ROOT,
    SHIPPED,
    SNIPPET,
    UNREADABLE,
    Document,
    House,
    edited,
    edited_json,
    mixed_articles,
    poison,
    run_python,
    student,
)

BAD = {
    "None": (None, Status.INVALID),
    "bytes": (b"The harbour council of Ardlow", Status.INVALID),
    "NaN": (float("nan"), Status.INVALID),
    "a number": (7, Status.INVALID),
    "a list": (["The harbour council"], Status.INVALID),
    "an empty mapping": ({}, Status.INVALID),
    "a mapping without content": ({"title": "The harbour council"}, Status.INVALID),
    "content that is NaN": ({"title": "t", "content": float("nan")}, Status.INVALID),
    "content as bytes": ({"title": "t", "content": b"bytes"}, Status.INVALID),
    "an empty text": ("", Status.NO_CONTENT),
    "white space": ({"content": " \n\t"}, Status.NO_CONTENT),
    "markup only": ({"content": "<div><img src='a.jpg'></div>"}, Status.NO_CONTENT),
    "three words": ("Council approves plan", Status.TOO_SHORT),
    "10 MB": ("spam " * 2_000_000, Status.TOO_LONG),
    "Chinese": (UNREADABLE["Chinese"], Status.UNSUPPORTED_SCRIPT),
}


def same(left: Score, right: Score) -> bool:
    """Equal to 1e-6 in every number, and equal in everything else."""
    return _rounded(left) == _rounded(right) and all(
        abs(a - b) <= 1e-6 for a, b in zip(_numbers(left), _numbers(right), strict=True)
    )


def _numbers(score: Score) -> list[float]:
    if score.dimensions is None:
        return []
    assert score.weighted_average is not None
    assert score.raw_weighted_average is not None
    return [score.weighted_average, score.raw_weighted_average, *score.dimensions.values(), *(score.interval or ())]


def _rounded(score: Score) -> tuple[object, ...]:
    return score.status, score.tier, score.id, score.gate_applied, score.tokens, score.detail, score.provenance


# --- AC6: independence ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed() -> list[Document]:
    """Two dozen articles of very different lengths, one broken record among them."""
    articles: list[Any] = mixed_articles(23)
    articles.insert(11, {"id": "bad", "content": None})
    return articles


@pytest.fixture(scope="module")
def alone(uplifting: Filter, mixed: list[Document]) -> dict[str, Score]:
    return {row["id"]: uplifting.score(row) for row in mixed}


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_ac06_batches_order_and_threads_change_no_score(
    alone: dict[str, Score], mixed: list[Document], threads: int
) -> None:
    each = load("uplifting", threads=threads)
    shuffled = random.Random(threads).sample(mixed, len(mixed))
    for articles in (mixed, shuffled) if threads == 4 else (shuffled,):
        scores = each.score_batch(articles)
        assert [score.id for score in scores] == [row["id"] for row in articles]
        for score in scores:
            assert same(score, alone[score.id or ""]), score.id


def test_ac06_neighbours_of_other_lengths_change_no_score(uplifting: Filter, alone: dict[str, Score]) -> None:
    (row,) = (row for row in mixed_articles(23) if row["id"] == "mixed-3")
    for neighbour in ("word " * 2000, SNIPPET, None, "x" * 300):
        before, found, after = load("uplifting", threads=3).score_batch([neighbour, row, neighbour])
        assert same(found, alone["mixed-3"])
        assert same(before, after)


def test_ac06_an_article_scores_the_same_in_every_shape(uplifting: Filter, examples: list[Document]) -> None:
    row = examples[10]
    one = uplifting.score(row)
    for shape in (
        Article(row["title"], row["content"], row["id"]),
        {"id": row["id"], "headline": row["title"], "text": row["content"]},
    ):
        assert same(uplifting.score(shape), one)


# --- AC7: order and laziness ---------------------------------------------------------------------------


def drawn(count: list[int]) -> Iterator[str]:
    for number in itertools.count():
        count.append(number)
        yield SNIPPET


@pytest.mark.parametrize("threads", [1, 3])
def test_ac07_an_endless_stream_is_read_as_it_is_scored(threads: int) -> None:
    each, count = load("uplifting", threads=threads), list[int]()
    scores = each.score_iter(drawn(count))
    assert count == [], "articles were drawn before a score was asked for"
    for number, score in enumerate(itertools.islice(scores, 9), start=1):
        assert score.status is Status.OK
        assert len(count) <= number + 2 * threads
    scores.close()  # type: ignore[attr-defined]
    assert len(count) <= 9 + 2 * threads


# --- AC8: bad records ----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", BAD)
def test_ac08_a_bad_record_has_a_typed_status_and_no_number(uplifting: Filter, what: str) -> None:
    record, status = BAD[what]
    score = uplifting.score(record)
    assert score.status is status
    assert score.detail
    empty = (score.tier, score.weighted_average, score.raw_weighted_average, score.dimensions, score.gate_applied)
    assert {*empty, score.percentile, score.interval, score.tokens, score.stage} == {None}
    assert score.provenance == uplifting.provenance
    with pytest.raises(RecordError) as caught:
        uplifting.score(record, strict=True)
    assert caught.value.status is status
    assert str(caught.value) == score.detail


@pytest.mark.parametrize("threads", [1, 2])
def test_ac08_bad_records_stay_in_their_places(threads: int) -> None:
    each = load("uplifting", threads=threads)
    records = [part for record, _ in BAD.values() for part in (record, SNIPPET)]
    expected = [status for _, bad in BAD.values() for status in (bad, Status.OK)]
    assert [score.status for score in each.score_batch(records)] == expected
    scores = each.score_iter([SNIPPET, None, SNIPPET], strict=True)
    assert next(scores).status is Status.OK
    with pytest.raises(RecordError):
        next(scores)


# --- AC9 and the shape of a score ----------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_ac09_every_shipped_filter_scores_every_example(panel_scores: dict[str, list[Score]], name: str) -> None:
    spec = load(name).spec
    for score in panel_scores[name]:
        assert score.status is Status.OK, score
        assert score.dimensions is not None
        assert score.weighted_average is not None
        assert score.interval is not None
        assert score.percentile is not None
        assert score.tokens is not None
        assert tuple(score.dimensions) == spec.dimension_names
        assert all(0 <= value <= 10 for value in score.dimensions.values())
        assert 0 <= score.interval[0] <= score.weighted_average <= score.interval[1] <= 10
        assert 0 <= score.percentile <= 100
        assert score.tier in {tier.name for tier in spec.tiers}
        assert 0 < score.tokens.read <= score.tokens.total
        assert score.tokens.truncated == (score.tokens.read < score.tokens.total)
        average = sum(d.weight * score.dimensions[d.name] for d in spec.dimensions)
        if score.gate_applied:
            assert spec.gate is not None
            assert score.weighted_average == spec.gate.ceiling < average
        else:
            assert score.weighted_average == pytest.approx(average)
        assert (score.provenance.filter, score.provenance.version) == (name, spec.version)
        assert score.provenance.engine == distilled_filters.__version__


@pytest.fixture(scope="module")
def panel_scores(panel: Any, examples: list[Document]) -> dict[str, list[Score]]:
    assert len(examples) == 12
    scored = panel.score_batch(examples)
    assert [scores["uplifting"].id for scores in scored] == [row["id"] for row in examples]
    return {name: [scores[name] for scores in scored] for name in SHIPPED}


# --- AC5, AC10, AC11: load, threads, processes ---------------------------------------------------------


def test_ac05_a_warm_load_takes_half_a_second_at_most() -> None:
    """Seconds of this process's processor time, which a load is but for the disk, so that a busy machine may run it."""
    code = (
        "import time, distilled_filters.filter\n"
        "from distilled_filters import load\n"
        "start = time.process_time(); load('uplifting').load(); print(time.process_time() - start)"
    )
    assert min(float(run_python(code)) for _ in range(3)) <= 0.5


def test_ac10_sixteen_threads_give_the_serial_scores(uplifting: Filter) -> None:
    articles = mixed_articles(16, longest=40, seed=10)
    serial = [uplifting.score(row) for row in articles]

    def call(start: int) -> list[Score]:
        return [uplifting.score(articles[(start + step) % 16]) for step in range(20)]

    with ThreadPoolExecutor(16) as pool:
        for start, scores in enumerate(pool.map(call, range(16))):
            for step, score in enumerate(scores):
                assert same(score, serial[(start + step) % 16])


def test_ac10_the_first_sixteen_calls_may_come_at_once(house: House) -> None:
    each = Filter(house.add())
    expected = Filter(each.folder).score(SNIPPET)
    barrier = threading.Barrier(16)

    def call(_: int) -> Score:
        barrier.wait()
        return each.score(SNIPPET)

    with ThreadPoolExecutor(16) as pool:
        assert all(same(score, expected) for score in pool.map(call, range(16)))


def test_ac10_the_tokenizer_neither_pads_nor_truncates(uplifting: Filter) -> None:
    tokenizer = student(uplifting).backbone.tokenizer
    for _ in range(2):
        assert tokenizer.padding is None
        assert tokenizer.truncation is None
        uplifting.score_batch(["word " * 3000, SNIPPET])


@pytest.mark.parametrize("opened", [False, True])
def test_ac11_a_filter_pickles_without_its_weights(opened: bool) -> None:
    each = load("uplifting", threads=3)
    if opened:
        each.load()
    content = pickle.dumps(each)
    assert len(content) < 10_000
    copy = pickle.loads(content)
    assert (copy.name, copy.version, copy.threads, copy.checkpoint) == ("uplifting", each.version, 3, each.checkpoint)
    assert same(copy.score(SNIPPET), each.score(SNIPPET))


def test_ac11_a_filter_of_a_folder_pickles_that_folder(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(house.add("belonging").parent)
    each = Filter("v1")
    content = pickle.dumps(each)
    assert len(content) < 10_000
    monkeypatch.chdir("/")
    assert pickle.loads(content).name == "belonging"


PROCESSES = f"""
import json, multiprocessing, sys, warnings
from distilled_filters import uplifting
if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on forks of processes with threads
    articles = [{SNIPPET!r}, {SNIPPET * 9!r}, None, "<p>{SNIPPET}</p>"]
    here = [uplifting.score(article) for article in articles]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        there = pool.map(uplifting.score, articles * 2, chunksize=1)
    print(json.dumps([score.to_dict() for score in here]))
    print(json.dumps([score.to_dict() for score in there]))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_ac11_workers_of_every_kind_give_the_parent_s_scores(method: str) -> None:
    """The parent has scored already, so a forked child goes on with its open session."""
    here, there = map(json.loads, run_python(PROCESSES, method).splitlines())
    assert [score["status"] for score in here] == ["ok", "ok", "invalid", "ok"]
    assert there == here * 2


# Forks while other threads score, and prints what became of the children. With the word `locked` the session
# holds a lock of its own in every run, as the runtime's do for moments, so that one fork is as good as a thousand.
FORKS = f"""
import os, sys, threading, time, warnings
import numpy
from distilled_filters import uplifting
warnings.simplefilter("ignore", DeprecationWarning)
backbone = uplifting.scorer.backbone
ids = numpy.arange(100, 104)
expected = uplifting.score({SNIPPET!r}).dimensions

class Locked:
    session, lock = backbone._session, threading.Lock()
    def run(self, *arguments):
        with self.lock:
            time.sleep(0.001)
            return self.session.run(*arguments)

if "locked" in sys.argv:
    backbone._session = Locked()

def embed():
    while True:
        backbone.embed(ids)

def score():
    while True:
        uplifting.score({SNIPPET!r})

for work in (embed, embed, embed, score):
    threading.Thread(target=work, daemon=True).start()
children, wrong = set(), 0
for number in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        backbone.embed(ids)
        right = number % 10 or uplifting.score({SNIPPET!r}).dimensions == expected
        os._exit(0 if right else 3)
    children.add(child)
    time.sleep(0.003)
deadline = time.monotonic() + 20
while children and time.monotonic() < deadline:
    for child in list(children):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            children.remove(child)
            wrong += status != 0
    time.sleep(0.01)
for child in children:
    os.kill(child, 9)
    os.waitpid(child, 0)
print(f"{{len(children)}} hung, {{wrong}} wrong", flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_ac11_a_fork_while_other_threads_score_neither_hangs_nor_lies() -> None:
    """A lock that another thread holds inside the runtime at the fork stays locked in the child for ever."""
    assert run_python(FORKS, 20, "locked").strip() == "0 hung, 0 wrong"


# --- what a filter is made of --------------------------------------------------------------------------


def test_ac20_another_engine_is_refused_with_both_versions_and_the_pip_line(house: House) -> None:
    folder = house.add()
    with edited(folder / "filter.toml") as spec:
        spec["engine"] = ">=7.1,<8"
    with pytest.raises(IncompatibleEngineError) as caught:
        Filter(folder)
    message = str(caught.value)
    assert "uplifting 1.0.0 needs distilled-filters" in message
    assert f"{distilled_filters.__version__} is installed" in message
    assert "7.1" in message
    assert "pip install 'distilled-filters" in message
    assert isinstance(caught.value, SpecError)


def test_an_unknown_checkpoint_is_refused_with_those_there_are(house: House) -> None:
    folder = house.add()
    with pytest.raises(UnknownFilterError, match=r"uplifting 1\.0\.0 has no checkpoint 'large'.*me5_small"):
        Filter(folder, checkpoint="large")
    assert Filter(folder, checkpoint="me5_small").checkpoint == "me5_small"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 1], ids=["scope", "dimension"])
def test_a_head_that_answers_no_number_never_gives_one(house: House, value: float, row: int) -> None:
    """NaN once came out as a score of 10; no clipping may hide it again."""
    folder = house.add()

    def change(tensors: dict[str, Any]) -> None:
        tensors["bias"][row] = value

    house.change_head(folder, change)
    each = Filter(folder)
    score = each.score({"id": "a", "content": SNIPPET})
    assert score.status is Status.ERROR
    assert score.weighted_average is None
    assert score.dimensions is None
    assert score.detail is not None
    assert "nan" in score.detail or "inf" in score.detail
    with pytest.raises(NonFiniteScoreError) as caught:
        each.score(SNIPPET, strict=True)
    assert caught.value.status is Status.ERROR


def test_one_article_that_breaks_the_student_does_not_stop_the_others(house: House) -> None:
    folder = house.add()
    house.change_head(folder, poison(np.nan))
    statuses = [score.status for score in Filter(folder, threads=2).score_batch([SNIPPET, None, SNIPPET])]
    assert statuses == [Status.ERROR, Status.INVALID, Status.ERROR]


def test_a_failing_runtime_is_that_record_s_error(uplifting: Filter, monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def run(self, *arguments: object) -> None:
            raise RuntimeError("out of memory")

    monkeypatch.setattr(student(uplifting).backbone, "_session", Session())
    score = uplifting.score({"id": "a", "content": SNIPPET})
    assert (score.status, score.id) == (Status.ERROR, "a")
    assert "out of memory" in (score.detail or "")


def test_a_window_longer_than_the_backbone_reads_is_refused_at_load(house: House) -> None:
    """Else only the long articles fail, in production, one by one."""
    folder = house.add()
    with edited(folder / "filter.toml") as spec:
        spec["preprocessing"]["head_tokens"] = 600
    with pytest.raises(DistilledFiltersError, match="512"):
        Filter(folder).load()


def test_a_calibration_of_another_head_is_refused(house: House) -> None:
    folder = house.add()
    house.change_head(folder, poison(1.0))
    (folder / "calibration.json").write_bytes((ROOT / "filters/uplifting/v1/calibration.json").read_bytes())
    house.redigest_spec(folder)
    with pytest.raises(CheckpointError, match=r"calibration\.json: made for the head"):
        Filter(folder).load()


def test_the_parts_of_a_spec_act_on_the_score(house: House) -> None:
    """Thresholds once sat in a config file that no code read: move each and see the score move."""
    folder = house.add()
    article = {"content": SNIPPET}

    def sure(tensors: dict[str, Any]) -> None:
        tensors["weight"][:], tensors["bias"][:] = 0, 5
        tensors["bias"][0] = 60

    with edited_json(folder / "calibration.json") as calibration:
        calibration["dimensions"] = {}
    house.change_head(folder, sure)
    before = Filter(folder).score(article)
    assert (before.tier, before.gate_applied) == ("medium", False)
    assert before.weighted_average == pytest.approx(5.0)

    with edited(folder / "filter.toml") as spec:
        spec["gate"].update(below=6.0, ceiling=4.5)
    gated = Filter(folder).score(article)
    assert (gated.weighted_average, gated.gate_applied) == (4.5, True)
    assert gated.raw_weighted_average == pytest.approx(5.0)

    with edited(folder / "filter.toml") as spec:
        spec["tiers"][1]["at_least"] = 4.6
    assert Filter(folder).score(article).tier == "low"

    with edited(folder / "filter.toml") as spec:
        spec["preprocessing"].update(head_tokens=7, tail_tokens=2)
    tokens = Filter(folder).score(article).tokens
    assert tokens is not None
    assert (tokens.read, tokens.truncated) == (9, True)

    with edited(folder / "filter.toml") as spec:
        spec["preprocessing"]["min_characters"] = 10_000
    assert Filter(folder).score(article).status is Status.TOO_SHORT


def test_the_learnt_tables_act_on_the_score(house: House) -> None:
    folder = house.add()

    def sure(tensors: dict[str, Any]) -> None:
        tensors["weight"][:], tensors["bias"][:] = 0, 5
        tensors["bias"][0] = 60

    house.change_head(folder, sure)
    calibration = json.loads((folder / "calibration.json").read_text())
    calibration["dimensions"] = {
        dimension.name: {"raw": [0.0, 10.0], "calibrated": [0.0, 8.0]} for dimension in Filter(folder).spec.dimensions
    }
    calibration["intervals"] = {"coverage": 0.9, "edges": [4.0], "half_widths": [0.5, 9.0]}
    (folder / "calibration.json").write_text(json.dumps(calibration))
    percentiles = json.loads((folder / "percentiles.json").read_text())
    percentiles["averages"] = [0.0, 1.0, 3.9, 9.0]
    (folder / "percentiles.json").write_text(json.dumps(percentiles))
    house.redigest_spec(folder)
    score = Filter(folder).score(SNIPPET)
    assert score.raw_weighted_average == pytest.approx(5.0, abs=1e-4)
    assert score.weighted_average == pytest.approx(4.0, abs=1e-4)
    assert score.percentile == 75.0
    assert score.interval is not None
    assert score.interval[1] - score.interval[0] in (pytest.approx(1.0), pytest.approx(10.0))


def test_weights_are_opened_on_first_use(house: House) -> None:
    folder = house.add()
    (folder / "head.safetensors").unlink()
    each = Filter(folder)
    assert each.version == "1.0.0"
    with pytest.raises(CheckpointError):
        each.load()
    with pytest.raises(CheckpointError):
        each.score(None)


def test_a_filter_says_what_it_is(uplifting: Filter) -> None:
    assert repr(uplifting) == f"<Filter uplifting {uplifting.version}, checkpoint {uplifting.checkpoint}>"
    assert not hasattr(uplifting, "scores")
    with pytest.raises(AttributeError, match="'Filter' object has no attribute 'scroe'"):
        _ = uplifting.scroe


def test_what_goes_wrong_inside_a_property_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as an attribute that the filter lacks."""

    def broken(source: object) -> None:
        raise AttributeError("the runtime has no such call")

    monkeypatch.setattr(filter_module, "open_scorer", broken)
    with pytest.raises(AttributeError, match="the runtime has no such call"):
        Filter(FILTERS / "uplifting" / "v1").load()
