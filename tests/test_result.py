"""A score: frozen, plain to write, and with all that is needed to produce it again."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from distilled_filters.filter import Filter
from distilled_filters.result import Provenance, Score, TokenUse
from distilled_filters.status import Status
from tests.conftest import SNIPPET

PROVENANCE = Provenance("tiny", "1.2.3", "small", "me5_small/v1", "b" * 64, "h" * 64, "0.1.0")
SCORE = Score(
    status=Status.OK,
    provenance=PROVENANCE,
    id="a",
    tier="high",
    weighted_average=7.123456,
    raw_weighted_average=7.2,
    dimensions={"evidence": 7.00004},
    gate_applied=False,
    percentile=99.123456,
    interval=(6.000001, 8.0),
    stage="student",
    tokens=TokenUse(300, 186, True),
)


def test_a_score_is_written_as_plain_json_to_four_decimals() -> None:
    written = SCORE.to_dict()
    assert json.loads(json.dumps(written)) == written
    assert written == {
        "id": "a",
        "filter": "tiny",
        "version": "1.2.3",
        "status": "ok",
        "tier": "high",
        "weighted_average": 7.1235,
        "raw_weighted_average": 7.2,
        "dimensions": {"evidence": 7.0},
        "gate_applied": False,
        "percentile": 99.1235,
        "interval": [6.0, 8.0],
        "disagreement": None,
        "stage": "student",
        "tokens": {"total": 300, "read": 186, "truncated": True},
        "detail": None,
        "provenance": {
            "filter": "tiny",
            "version": "1.2.3",
            "checkpoint": "small",
            "backbone": "me5_small/v1",
            "backbone_sha256": "b" * 64,
            "head_sha256": "h" * 64,
            "engine": "0.1.0",
        },
    }
    assert type(written["status"]) is str


def test_ac08_a_refusal_has_the_same_keys(uplifting: Filter) -> None:
    refused = uplifting.score({"id": 3}).to_dict()
    assert list(refused) == list(SCORE.to_dict())
    assert (refused["id"], refused["status"]) == ("3", "invalid")
    assert "no 'content'" in refused["detail"]
    absent = {"tier", "weighted_average", "raw_weighted_average", "dimensions", "gate_applied", "percentile"}
    absent |= {"interval", "disagreement", "stage", "tokens"}
    assert {key for key, value in refused.items() if value is None} == absent
    assert json.loads(json.dumps(refused)) == refused


def test_ac09_a_real_score_is_written_whole(uplifting: Filter) -> None:
    written = uplifting.score(SNIPPET * 9).to_dict()
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert {key for key, value in written.items() if value is None} == {"id", "detail", "disagreement"}
    assert set(written["tokens"]) == {"total", "read", "truncated"}
    assert written["tokens"]["truncated"] is True


@pytest.mark.parametrize(
    ("target", "attribute"), [(SCORE, "tier"), (PROVENANCE, "version"), (SCORE.tokens, "read")], ids=type
)
def test_results_are_frozen(target: Any, attribute: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(target, attribute, "other")


@pytest.mark.parametrize(
    "change",
    [
        lambda scores: scores.update(evidence=9.0),
        lambda scores: scores.__setitem__("evidence", 9.0),
        lambda scores: scores.__delitem__("evidence"),
        lambda scores: scores.__ior__({"evidence": 9.0}),
        lambda scores: scores.setdefault("reach", 9.0),
        lambda scores: scores.pop("evidence"),
        lambda scores: scores.popitem(),
        lambda scores: scores.clear(),
    ],
)
def test_no_dimension_can_be_changed(change: Callable[[Any], object]) -> None:
    given = {"evidence": 7.0}
    score = dataclasses.replace(SCORE, dimensions=given)
    with pytest.raises(TypeError, match="is a copy that can"):
        change(score.dimensions)
    given["evidence"] = 9.0
    assert score.dimensions == {"evidence": 7.0}


def test_dimensions_are_a_dict_to_whoever_reads_them() -> None:
    dimensions = SCORE.dimensions
    assert dimensions is not None
    assert isinstance(dimensions, dict)
    assert dimensions == {"evidence": 7.00004}
    assert json.loads(json.dumps(dimensions)) == dimensions
    assert dimensions | {"reach": 1.0} == {"evidence": 7.00004, "reach": 1.0}
    assert dataclasses.asdict(SCORE)["dimensions"] == dimensions
    changed = dict(dimensions)
    changed["evidence"] = 1.0
    assert dimensions["evidence"] == 7.00004


def test_equal_scores_have_one_hash(uplifting: Filter) -> None:
    twin = dataclasses.replace(SCORE, dimensions={"evidence": 7.00004})
    other = dataclasses.replace(SCORE, dimensions={"evidence": 7.1})
    assert {SCORE, twin, other} == {SCORE, other}
    assert len({SCORE, twin, other, uplifting.score(None), uplifting.score(None), uplifting.score(SNIPPET)}) == 4


def test_results_travel_between_processes(uplifting: Filter) -> None:
    for score in (SCORE, uplifting.score(SNIPPET), uplifting.score(None)):
        for twin in (pickle.loads(pickle.dumps(score)), copy.copy(score), copy.deepcopy(score)):
            assert twin == score
            assert type(twin.dimensions) is type(score.dimensions)
            assert hash(twin) == hash(score)


def test_a_status_is_its_word() -> None:
    assert [str(status) for status in Status] == [
        "ok", "invalid", "no_content", "too_short", "too_long", "unsupported_script", "error",
    ]  # fmt: skip
    assert Status("ok") is Status.OK
    assert SCORE.status == "ok"
