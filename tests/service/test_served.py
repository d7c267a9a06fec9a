from __future__ import annotations

import pytest

from distilled_filters.errors import CheckpointError, SettingError, UnknownFilterError
from distilled_filters.service.app import create_app
from distilled_filters.service.schema import ScoreRow
from distilled_filters.service.served import Served
from distilled_filters.service.settings import Settings, token_from
from tests.conftest import SNIPPET, House, flip_byte
from tests.service.conftest import running


@pytest.fixture
def broken(house: House, monkeypatch: pytest.MonkeyPatch) -> Served:
    """A healthy filter, one with damaged weights, and one whose spec breaks a rule."""
    house.add("uplifting")
    flip_byte(house.add("belonging") / "head.safetensors")
    (house.add("nature_recovery") / "filter.toml").write_text("name = 1", encoding="utf-8")
    house.use(monkeypatch)
    return Served(threads=1)


def test_a_broken_filter_answers_for_itself_alone(broken: Served) -> None:
    assert list(broken.filters) == ["uplifting"]
    assert broken.problems["belonging"].startswith("ChecksumError: ")
    assert broken.problems["nature_recovery"].startswith("SpecError: ")
    scores = broken.score({"id": 4, "content": SNIPPET}, broken.choose(None))
    assert {name: score["status"] for name, score in scores.items()} == {
        "belonging": "error", "nature_recovery": "error", "uplifting": "ok",
    }  # fmt: skip
    assert scores["belonging"]["id"] == "4"
    assert scores["belonging"]["detail"] == broken.problems["belonging"]
    assert all(ScoreRow.model_validate(score).model_dump(mode="json") == score for score in scores.values())


def test_health_names_a_broken_filter_and_filters_says_why(broken: Served) -> None:
    import httpx

    with running(create_app(broken, Settings())) as url:
        health = httpx.get(f"{url}/health").json()
        assert (health["status"], health["ready"]) == ("degraded", True)
        assert health["filters"] == {"belonging": "failed", "nature_recovery": "failed", "uplifting": "ok"}
        rows = {row["name"]: row["problem"] for row in httpx.get(f"{url}/v1/filters").json()["filters"]}
        assert rows == {**broken.problems, "uplifting": None}
        metrics = httpx.get(f"{url}/metrics").text
        assert 'distillery_filter_up{filter="belonging"} 0.0' in metrics
        answer = httpx.post(f"{url}/v1/score", json={"articles": [SNIPPET], "filters": ["belonging"]})
        assert answer.json()["results"][0]["belonging"]["status"] == "error"


def test_where_no_filter_opens_there_is_nothing_to_serve(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    flip_byte(house.add("belonging") / "head.safetensors")
    house.use(monkeypatch)
    with pytest.raises(CheckpointError):
        Served()


def test_a_filter_that_was_asked_for_must_exist_and_be_named_once() -> None:
    with pytest.raises(UnknownFilterError, match="did you mean 'uplifting'"):
        Served(["upliftin"])
    with pytest.raises(UnknownFilterError, match="neither a filter name nor a requirement"):
        Served(["uplifting=="])
    with pytest.raises(SettingError, match="named twice"):
        Served(["uplifting", "uplifting==1.*"])


@pytest.mark.parametrize(
    "limits", [{"timeout": 0.0}, {"max_body": -1}, {"timeout": float("nan")}, {"queue": 10, "max_articles": 11}]
)
def test_limits_that_nothing_could_pass_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(limits))):
        Settings(**limits)  # type: ignore[arg-type]


def test_a_token_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_from(None) is None
    monkeypatch.setenv("A_TOKEN", " secret\n")
    assert token_from("A_TOKEN") == "secret"
    monkeypatch.setenv("A_TOKEN", "")
    with pytest.raises(SettingError, match="A_TOKEN holds no token"):
        token_from("A_TOKEN")
