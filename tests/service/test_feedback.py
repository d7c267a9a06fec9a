from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distilled_filters.errors import SettingError
from distilled_filters.filter import Filter
from distilled_filters.service.feedback import FeedbackStore, FolderFullError
from distilled_filters.service.schema import Feedback
from distilled_filters.service.settings import Settings
from tests.service.conftest import Limited

SAID = {"filter": "uplifting", "id": "7", "tier": "high", "comment": "two\nlines"}


def lines(folder: Path) -> list[dict[str, object]]:
    (file,) = folder.glob("feedback-*.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_feedback_becomes_a_line(limited: Limited, tmp_path: Path, uplifting: Filter) -> None:
    with limited(Settings(feedback=tmp_path)) as http:
        answer = http.post("/v1/feedback", json=SAID)
        assert answer.status_code == 201
        assert lines(tmp_path) == [answer.json()]
        assert answer.json() == {**SAID, "version": uplifting.version, "received": answer.json()["received"]}
        assert http.post("/v1/feedback", json={**SAID, "version": "1.0.0"}).json()["version"] == "1.0.0"


def test_halves_of_characters_do_no_harm(limited: Limited, tmp_path: Path) -> None:
    with limited(Settings(feedback=tmp_path)) as http:
        body = json.dumps({**SAID, "id": "\ud83d", "comment": "half \ud83d"})
        answer = http.post("/v1/feedback", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["comment"]) == (201, "half ?")
        assert lines(tmp_path) == [answer.json()]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"filter": "upliftin"}, 404, "did you mean 'uplifting'?"),
        ({"tier": "splendid"}, 422, "has no tier 'splendid', but high, medium, low"),
        ({"id": ""}, 422, "id: "),
        ({"id": 7}, 422, "id: "),
        ({"comment": "x" * 4001}, 422, "comment: "),
        ({"extra": 1}, 422, "extra: "),
    ],
)
def test_wrong_feedback_is_refused(
    limited: Limited, tmp_path: Path, change: dict[str, object], code: int, said: str
) -> None:
    with limited(Settings(feedback=tmp_path)) as http:
        answer = http.post("/v1/feedback", json={**SAID, **change})
        assert (answer.status_code, said in answer.json()["detail"]) == (code, True), answer.text
        assert list(tmp_path.glob("feedback-*")) == []


def test_without_a_folder_nothing_is_kept(limited: Limited, tmp_path: Path) -> None:
    with limited(Settings()) as http:
        answer = http.post("/v1/feedback", json=SAID)
        assert (answer.status_code, "--feedback FOLDER" in answer.json()["detail"]) == (501, True)
    with pytest.raises(SettingError, match="there is no folder"):
        Settings(feedback=tmp_path / "missing")


def test_a_full_folder_is_told(limited: Limited, tmp_path: Path) -> None:
    with limited(Settings(feedback=tmp_path, max_feedback=200)) as http:
        assert http.post("/v1/feedback", json=SAID).status_code == 201
        assert http.post("/v1/feedback", json=SAID).status_code == 507
        assert len(lines(tmp_path)) == 1


def test_stores_of_one_folder_do_not_mix_lines(tmp_path: Path) -> None:
    stores = [FeedbackStore(tmp_path, 10**6) for _ in range(4)]
    said = Feedback(filter="uplifting", id="x" * 500, tier="low")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: stores[number % 4].add(said, "1.0.0"), range(80)))
    assert [line["id"] for line in lines(tmp_path)] == ["x" * 500] * 80


def test_half_a_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    store, said = FeedbackStore(tmp_path, 10**6), Feedback(filter="uplifting", id="1", tier="low")
    store.add(said, None)
    (file,) = tmp_path.glob("feedback-*.jsonl")
    file.write_text(file.read_text(encoding="utf-8") + '{"received": "20', encoding="utf-8")
    store.add(said, None)
    first, half, last = file.read_text(encoding="utf-8").splitlines()
    assert json.loads(first)["id"] == json.loads(last)["id"] == "1"
    assert half == '{"received": "20'


def test_what_cannot_be_written_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, said = FeedbackStore(tmp_path, 10**6), Feedback(filter="uplifting", id="1", tier="low")
    store.add(said, None)

    def full(_: int) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="no space"):
            store.add(said, None)
    assert len(lines(tmp_path)) == 1
    with pytest.raises(FolderFullError, match="holds its 1 bytes"):
        FeedbackStore(tmp_path, 1).add(said, None)
