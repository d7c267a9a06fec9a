from __future__ import annotations

import io

import pytest

from distilled_filters.corpus import text
from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.text import read_csv, read_json, read_json_lines
from tests.corpus.conftest import records


def test_json_lines_keep_the_place_of_broken_ones() -> None:
    content = b'\xef\xbb\xbf{"content": "a"}\n\n{"content"\nnull\n"text"\n\xff\n' + b"[" * 100_000 + b"\n" + b"1" * 5000
    found = records(read_json_lines, content)
    assert found[0] == {"content": "a"}
    assert found[1][0] == "invalid"  # type: ignore[index]
    assert "line 3 of corpus is not JSON" in found[1][1]  # type: ignore[index]
    assert found[2:4] == [None, "text"]
    assert found[4][1] == "line 6 of corpus is not UTF-8: byte 1 is 0xff"  # type: ignore[index]
    assert [each[0] for each in found[5:]] == ["invalid", "invalid"]  # type: ignore[index]


def test_a_line_beyond_the_limit_is_one_failed_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_LINE_BYTES", 30)
    monkeypatch.setattr(text, "_MEBIBYTE", 8)
    content = b'{"content": "a"}\n' + b'{"content": "%s"}\n' % (b"b" * 100) + b'{"content": "c"}'
    first, long, last = records(read_json_lines, content)
    assert (first, last) == ({"content": "a"}, {"content": "c"})
    assert isinstance(long, tuple)
    assert long[0] == "too_long"
    assert "line 2" in long[1]


def test_positions_end_at_the_size() -> None:
    content = b'{"content": "a"}\nnot json\n{"content": "c"}'
    for reader in (read_json_lines, read_csv):
        assert [position for _, position in reader(io.BytesIO(content), "corpus")][-1] == len(content)
    assert [position for _, position in read_json(io.BytesIO(b"[1, 2]"), "corpus")] == [3, 6]


def test_a_json_document_is_an_array_or_one_record() -> None:
    assert records(read_json, b'[{"content": "a"}, null, 1]') == [{"content": "a"}, None, 1]
    assert records(read_json, b'{\n "content": "a"\n}') == [{"content": "a"}]
    assert records(read_json, b"[]") == []
    with pytest.raises(CorpusError, match=r"must end in \.jsonl"):
        records(read_json, b'{"content": "a"}\n{"content": "b"}')


def test_a_json_document_beyond_the_limit_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_DOCUMENT_BYTES", 4)
    with pytest.raises(CorpusError, match="jq -c"):
        records(read_json, b"[1, 2]")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_quoted_lines_and_broken_rows(delimiter: str) -> None:
    lines = ["id,title,content", '1,"a ""b""","first,\nsecond"', "2,too few", "3,a,b,too many", "4,a,\udcff", "5,,"]
    content = "\n".join(lines).replace(",", delimiter).encode("utf-8", "surrogateescape")
    found = records(read_csv, content)
    assert found[0] == {"id": "1", "title": 'a "b"', "content": f"first{delimiter}\nsecond"}
    assert found[1] == ("invalid", "line 4 of corpus has 2 fields, the header 3")
    assert found[2] == ("invalid", "line 5 of corpus has 4 fields, the header 3")
    assert found[3] == ("invalid", "line 6 of corpus is not UTF-8")
    assert found[4] == {"id": "5", "title": "", "content": ""}


def test_csv_without_rows_holds_no_records() -> None:
    assert records(read_csv, b"") == []
    assert records(read_csv, b"title,content\n") == []


def test_csv_takes_long_articles_but_no_endless_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "a" * 200_000  # beyond the default of Python's csv module
    assert records(read_csv, b"content\n" + long.encode()) == [{"content": long}]
    monkeypatch.setattr(text, "MAX_LINE_BYTES", 50)
    with pytest.raises(CorpusError, match="more than"):
        records(read_csv, b"title,content\n" + b"a" * 60)
    with pytest.raises(CorpusError, match="quotation mark"):
        records(read_csv, b'title,content\n"' + b"a,b\n" * 60)
    monkeypatch.undo()
    # The limit is the csv module's own, and others read CSV in this process.
    assert records(read_csv, b"content\na\n") == [{"content": "a"}]
