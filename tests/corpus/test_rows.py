from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas
import pytest

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.formats import FORMATS, TextFormat, choose_format, json_line
from distilled_filters.corpus.places import place_of
from distilled_filters.corpus.rows import Row, flat_columns, record_title
from distilled_filters.corpus.scoring import score_records
from distilled_filters.corpus.sources import Record
from distilled_filters.errors import RecordError
from distilled_filters.filter import Filter
from distilled_filters.panel import Panel
from distilled_filters.status import Status

TEXT = "The river runs clear again after nine years of work, the county's tests show. " * 3


def test_every_record_gets_a_row_in_order(uplifting: Filter) -> None:
    unreadable = RecordError(Status.INVALID, "line 1 of a.jsonl is not JSON")
    values = [unreadable, None, {"id": 7, "title": "River", "content": TEXT}, {"title": "Empty", "content": ""}]
    records = [Record(row, value, 0) for row, value in enumerate(values)]
    rows = list(score_records(Panel([uplifting], threads=2), records))
    assert [row.row for row in rows] == [0, 1, 2, 3]
    assert [row.status.value for row in rows] == ["invalid", "invalid", "ok", "no_content"]
    assert rows[0].scores["uplifting"].detail == str(unreadable)
    assert (rows[2].id, rows[2].title, rows[3].title) == ("7", "River", "Empty")


def test_a_row_is_json_of_a_score_without_what_the_run_knows(uplifting: Filter) -> None:
    row = Row(3, "River", {"uplifting": uplifting.score({"id": "a", "content": TEXT})})
    document = json.loads(json_line(row))
    assert list(document) == ["row", "id", "title", "scores"]
    expected = uplifting.score({"id": "a", "content": TEXT}).to_dict()
    assert document["scores"]["uplifting"] == {
        k: v for k, v in expected.items() if k not in ("id", "filter", "provenance")
    }


def test_lone_surrogates_do_not_stop_the_output(uplifting: Filter) -> None:
    row = Row(0, "a \ud800 b", {"uplifting": uplifting.score({"id": "\udfff", "content": TEXT})})
    assert json.loads(json_line(row).encode())["title"] == "a ? b"
    assert row.id == "?"


def test_csv_has_the_flat_columns_and_the_parts_join(uplifting: Filter, tmp_path: Path) -> None:
    form = FORMATS["csv"]([uplifting])
    assert isinstance(form, TextFormat)
    rows = [
        Row(0, None, {"uplifting": uplifting.score(None)}),
        Row(1, 'a, "b"\nc', {"uplifting": uplifting.score(TEXT)}),
    ]
    for number, row in enumerate(rows):
        form.write(tmp_path / str(number), [row])
    form.join(tmp_path / "out.csv", [place_of(str(tmp_path / name)) for name in "01"])
    text = (tmp_path / "out.csv").read_bytes().decode()
    assert text == form.header + "".join(map(form.encode, rows))
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert list(first) == list(flat_columns([uplifting]))
    assert (first["title"], first["uplifting_status"], first["uplifting_tier"]) == ("", "invalid", "")
    assert second["title"] == 'a, "b"\nc'
    assert float(second["uplifting_evidence_level"]) >= 0


@pytest.mark.parametrize("title", ["a\rb", "a\nb", "a\r\nb", "a\r"], ids=ascii)
def test_csv_lines_end_alike_and_no_title_ends_one(title: str, uplifting: Filter) -> None:
    form = FORMATS["csv"]([uplifting])
    assert isinstance(form, TextFormat)
    line = form.encode(Row(0, title, {"uplifting": uplifting.score(None)}))
    for text in (form.header, line.replace(title, "")):
        assert (text.count("\n"), text.count("\r"), text[-1]) == (1, 0, "\n")
    (row,) = csv.DictReader(io.StringIO(form.header + line, newline=""))
    assert row["title"] == title
    (read,) = pandas.read_csv(io.BytesIO((form.header + line).encode())).itertuples()
    assert (read.title, read.uplifting_status) == (title, "invalid")


def test_titles_of_records_of_any_shape() -> None:
    assert record_title({"headline": "a", "content": "b"}) == "a"
    assert record_title({"title": "a", "content": None}) == "a"
    assert record_title({"title": 3, "content": None}) is None
    assert record_title("body") is None
    assert record_title(None) is None


def test_the_format_comes_from_the_option_then_the_suffix() -> None:
    assert choose_format(None, None) == "jsonl"
    assert choose_format(None, "a.PARQUET") == "parquet"
    assert choose_format("csv", "a.txt") == "csv"
    with pytest.raises(CorpusError, match="--format"):
        choose_format(None, "a.txt")
    with pytest.raises(CorpusError, match="standard output"):
        choose_format("parquet", None)
