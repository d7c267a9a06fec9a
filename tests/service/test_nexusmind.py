from __future__ import annotations

import httpx

from distilled_filters.filter import Filter
from distilled_filters.scorers.base import SCREEN
from distilled_filters.service.nexusmind import nexusmind_row
from tests.conftest import SNIPPET

KEYS = [
    "version", "scores", "weighted_average", "raw_weighted_average", "normalization_method", "tier",
    "gatekeeper_applied", "passed_prefilter", "prefilter_reason",
]  # fmt: skip


def test_a_row_has_nexusminds_keys_and_the_librarys_numbers(http: httpx.Client, uplifting: Filter) -> None:
    article = {"id": "a", "content": SNIPPET}
    answer = http.post("/v1/nexusmind", json={"articles": [article, "short"], "filters": ["uplifting"]})
    scored, refused = answer.json()["rows"]
    score = uplifting.score(article).to_dict()
    assert scored == {
        "id": "a",
        "uplifting_analysis": {
            "version": uplifting.version,
            "scores": score["dimensions"],
            "weighted_average": score["weighted_average"],
            "raw_weighted_average": score["raw_weighted_average"],
            "normalization_method": "isotonic" if uplifting.calibration.dimensions else "none",
            "tier": score["tier"],
            "gatekeeper_applied": score["gate_applied"],
            "passed_prefilter": True,
            "prefilter_reason": None,
        },
    }
    analysis = refused["uplifting_analysis"]
    assert list(analysis) == list(scored["uplifting_analysis"]) == KEYS
    assert (analysis["passed_prefilter"], analysis["prefilter_reason"]) == (False, "too_short")
    assert analysis["scores"] is analysis["weighted_average"] is analysis["normalization_method"] is None
    assert analysis["gatekeeper_applied"] is False


def test_a_screen_is_a_prefilter_that_left_numbers(uplifting: Filter) -> None:
    score = {**uplifting.score(SNIPPET).to_dict(), "stage": SCREEN}
    analysis = nexusmind_row({"uplifting": score}, {"uplifting"})["uplifting_analysis"]
    assert (analysis["passed_prefilter"], analysis["prefilter_reason"]) == (False, "screen")
    assert analysis["weighted_average"] == score["weighted_average"]
    assert analysis["normalization_method"] == "isotonic"
