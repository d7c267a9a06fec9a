from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.sources import find_sources, read_corpus


def test_rows_and_positions_go_on_over_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"content": "a"}\nbroken\n')
    (tmp_path / "b.JSON").write_text('[{"content": "b"}]')
    (tmp_path / "c.csv").write_text("content\nc\n")
    sources = find_sources([str(tmp_path / name) for name in ("a.jsonl", "b.JSON", "c.csv")])
    found = list(read_corpus(sources))
    assert [record.row for record in found] == [0, 1, 2, 3]
    assert [record.value for record in found][2:] == [{"content": "b"}, {"content": "c"}]
    assert found[-1].position == sum(source.size or 0 for source in sources)


def test_standard_input_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps({"content": "a"}).encode())))
    assert [record.value for record in read_corpus(find_sources(["-"]))] == [{"content": "a"}]


def test_wrong_inputs_are_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(CorpusError, match=r"cannot tell the format.*\.parquet"):
        find_sources([str(tmp_path / "a.txt")])
    with pytest.raises(CorpusError, match="is a folder"):
        find_sources([str(tmp_path)])
    with pytest.raises(CorpusError, match="stands twice"):
        find_sources(["-", "-"])
    with pytest.raises(FileNotFoundError, match=r"no file .*b\.jsonl"):
        find_sources([str(tmp_path / "b.jsonl")])
