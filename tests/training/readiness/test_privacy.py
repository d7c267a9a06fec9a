"""Searching a file for personal data, and the masked copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasketch")
pytest.importorskip("phonenumbers")

from distilled_filters.errors import SettingError
from distilled_filters.training.readiness.assessment import assess
from distilled_filters.training.readiness.pii import Kind
from distilled_filters.training.readiness.privacy import search
from tests.training.prepare.conftest import read, write

ROWS: list[dict[str, Any]] = [
    {"id": "1", "title": "Desk: desk@paper.example", "content": "Call 020 7946 0958 now.", "language": "en"},
    {"id": "2", "title": "Nothing", "content": "Nothing at all 🎈", "source": "mail@paper.example", "rank": 3},
    {"id": "3", "text": "Schrijf naar desk@paper.example", "language": None},
]


def test_a_masked_copy_has_every_row_and_field_but_the_data(tmp_path: Path) -> None:
    source = write(tmp_path / "articles.jsonl", [*ROWS, "{", "[1]"])
    before = source.read_bytes()
    found = search(source, tmp_path / "new" / "masked.jsonl")
    assert (found.articles, found.affected, found.unreadable) == (3, 2, 2)
    assert found.findings == {Kind.EMAIL: 2, Kind.PHONE: 1}
    assert found.languages["en"] == found.languages["und"] == 1
    assert read(tmp_path / "new" / "masked.jsonl") == [
        ROWS[0] | {"title": "Desk: [EMAIL]", "content": "Call [PHONE] now."},
        ROWS[1],
        ROWS[2] | {"text": "Schrijf naar [EMAIL]"},
    ]
    assert source.read_bytes() == before


@pytest.mark.parametrize("name", ["articles.jsonl", "labels.jsonl"])
def test_what_is_judged_is_never_overwritten(name: str, data: Path, filters: Path) -> None:
    before = (data / name).read_bytes()
    with pytest.raises(SettingError, match="would overwrite what is judged"):
        assess(data, filters, masked=data / "." / name)
    assert (data / name).read_bytes() == before


def test_without_a_name_nothing_is_written(tmp_path: Path) -> None:
    source = write(tmp_path / "articles.jsonl", ROWS)
    assert search(source).affected == 2
    assert [path.name for path in tmp_path.iterdir()] == ["articles.jsonl"]
