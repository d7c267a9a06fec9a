from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.places import natural_order, place_of


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["part-10", "part-2", "part-2a", "Part-1", "part-02", "10", "9"]
    assert sorted(names, key=natural_order) == ["9", "10", "Part-1", "part-02", "part-2", "part-2a", "part-10"]


@pytest.mark.parametrize("root", ["{}", "file://{}", "memory://{}"])
def test_files_are_written_found_and_read_wherever_they_lie(root: str, tmp_path: Path) -> None:
    folder = place_of(root.format(tmp_path / "a folder"))
    assert not folder.exists()
    folder.make_folder()
    for name in ("b10.txt", "b9.txt", "_hidden", ".hidden"):
        with (folder / name).writing(tmp_path / "partial") as partial:
            partial.write_bytes(name.encode())
            assert not (folder / name).exists()
    assert folder.is_folder()
    assert [place.base for place in folder.files()] == ["b9.txt", "b10.txt"]
    assert [place.base for place in (folder / "*.txt").matches()] == ["b9.txt", "b10.txt"]
    (found,) = (folder / "b9*").matches()
    assert (found.read(), found.size()) == (b"b9.txt", 6)
    with found.reading() as file:
        assert file.read() == b"b9.txt"
    found.remove()
    assert not found.exists()
    assert folder.local is not root.startswith("memory")


def test_a_file_that_fails_to_be_written_never_appears(tmp_path: Path) -> None:
    for place in (place_of(str(tmp_path / "a")), place_of("memory://never/a")):
        with suppress(ZeroDivisionError), place.writing(tmp_path / "partial") as partial:
            partial.write_text("half")
            raise ZeroDivisionError
        assert not place.exists()


def test_secrets_in_addresses_come_into_no_record() -> None:
    with pytest.raises(CorpusError, match="password") as error:
        place_of("ftp://me:hunter2@example.org/a.jsonl")
    assert "hunter2" not in str(error.value)
    signed = place_of("https://example.org/b/a.jsonl.gz?Signature=hunter2")
    assert (signed.name, signed.base) == ("https://example.org/b/a.jsonl.gz", "a.jsonl.gz")


def test_what_no_package_can_open_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(CorpusError, match=r"pip install 'fsspec\[s3\]'"):
        place_of("s3://bucket/a.jsonl")
    with pytest.raises(CorpusError, match="nosuch"):
        place_of("nosuch://bucket/a.jsonl")
