from __future__ import annotations

import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.formats import FORMATS
from distilled_filters.corpus.parquet import read_parquet
from distilled_filters.corpus.places import place_of
from distilled_filters.corpus.rows import Row
from distilled_filters.filter import Filter


def test_rows_become_records_with_a_growing_position(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    content = [None if number == 7 else f"text {number}" for number in range(600)]
    pyarrow.parquet.write_table(pyarrow.table({"id": list(range(600)), "content": content}), path)
    with path.open("rb") as file:
        found = list(read_parquet(file, "a.parquet"))
    assert [record["content"] for record, _ in found] == content  # type: ignore[index]
    positions = [position for _, position in found]
    assert positions == sorted(positions)
    assert positions[-1] == path.stat().st_size


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and no more")
    with path.open("rb") as file, pytest.raises(CorpusError, match="does not read as Parquet"):
        list(read_parquet(file, "a.parquet"))


def test_without_pyarrow_the_error_has_the_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "a.parquet"
    path.touch()
    with path.open("rb") as file, pytest.raises(CorpusError, match=r"pip install 'distilled-filters\[parquet\]'"):
        list(read_parquet(file, "a.parquet"))


def test_the_schema_is_fixed_and_parts_join_to_row_groups(
    uplifting: Filter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Row(0, None, {"uplifting": uplifting.score(None)})
    scored = Row(1, "Title", {"uplifting": uplifting.score("The river runs clear again, officials say. " * 5)})
    form = FORMATS["parquet"]([uplifting])
    form.write(tmp_path / "0", [refused, refused])
    form.write(tmp_path / "1", [scored])
    parts = [place_of(str(tmp_path / name)) for name in "01"]
    form.join(tmp_path / "out", parts)
    form.join(tmp_path / "again", parts)
    monkeypatch.setattr("distilled_filters.corpus.parquet._GROUP_ROWS", 1)
    form.join(tmp_path / "grouped", parts)
    form.join(tmp_path / "empty", [])
    assert (tmp_path / "out").read_bytes() == (tmp_path / "again").read_bytes()
    joined = pyarrow.parquet.ParquetFile(tmp_path / "out")
    assert joined.num_row_groups == 1
    assert pyarrow.parquet.ParquetFile(tmp_path / "grouped").num_row_groups == 2
    assert joined.schema_arrow == pyarrow.parquet.read_schema(tmp_path / "empty")
    rows = joined.read().to_pylist()
    assert [row["uplifting_status"] for row in rows] == ["invalid", "invalid", "ok"]
    assert rows[0]["uplifting_weighted_average"] is None
    assert rows[2]["title"] == "Title"
    assert isinstance(rows[2]["uplifting_evidence_level"], float)
