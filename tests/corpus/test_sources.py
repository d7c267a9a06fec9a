from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import sys
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import fsspec
import pytest
from backports import zstd

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.sources import Problem, Start, find_sources, read_corpus
from tests.corpus.conftest import lines

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": partial(bz2.compress, compresslevel=1),  # blocks of 100 kB, so that a small file has several
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}


def test_rows_and_positions_go_on_over_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"content": "a"}\nbroken\n')
    (tmp_path / "b.JSON").write_text('[{"content": "b"}]')
    (tmp_path / "c.csv").write_text("content\nc\n")
    sources = find_sources([str(tmp_path / name) for name in ("a.jsonl", "b.JSON", "c.csv")])
    found = list(read_corpus(sources))
    assert [record.row for record in found] == [0, 1, 2, 3]
    assert [(record.source, record.index) for record in found] == [(0, 0), (0, 1), (1, 0), (2, 0)]
    assert [record.value for record in found][2:] == [{"content": "b"}, {"content": "c"}]
    assert found[-1].position == sum(source.size or 0 for source in sources)
    assert [(record.row, record.index) for record in read_corpus(sources, Start(0, 1, 1))] == [(1, 1), (2, 0), (3, 0)]
    assert list(read_corpus(sources, Start(1, 1, 3))) == found[3:]


def test_standard_input_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps({"content": "a"}).encode())))
    assert [record.value for record in read_corpus(find_sources(["-"]))] == [{"content": "a"}]


def test_wrong_inputs_are_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "a.parquet.gz").touch()
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(CorpusError, match=r"cannot tell the format.*\.parquet"):
        find_sources([str(tmp_path / "a.txt")])
    with pytest.raises(CorpusError, match=r"unpack the \.gz"):
        find_sources([str(tmp_path / "a.parquet.gz")])
    with pytest.raises(CorpusError, match="no file in it that ends in"):
        find_sources([str(tmp_path / "*.txt")])
    with pytest.raises(CorpusError, match="stands twice"):
        find_sources(["-", "-"])
    with pytest.raises(CorpusError, match=r"a\.jsonl stands twice"):
        find_sources([str(tmp_path / "a.jsonl"), str(tmp_path)])
    with pytest.raises(FileNotFoundError, match=r"no file .*b\.jsonl"):
        find_sources([str(tmp_path / "b.jsonl")])


def test_folders_and_patterns_are_read_in_natural_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("n10.jsonl", "n9.csv", "deep/n1.jsonl.gz", "README.txt", "_run.json", ".hidden.jsonl", "a[1].jsonl"):
        (tmp_path / "news" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "news" / name).touch()
    monkeypatch.chdir(tmp_path)
    notes: list[str] = []
    found = [source.name for source in find_sources(["news"], notes.append)]
    assert found == ["news/a[1].jsonl", "news/deep/n1.jsonl.gz", "news/n9.csv", "news/n10.jsonl"]
    assert notes == ["left out 1 files in no known format, such as news/README.txt"]
    assert [source.name for source in find_sources(["news/n*"])] == ["news/n9.csv", "news/n10.jsonl"]
    assert [source.name for source in find_sources(["news/**/*.gz"])] == ["news/deep/n1.jsonl.gz"]
    # A file's own name is no pattern.
    assert [source.name for source in find_sources(["news/a[1].jsonl"])] == ["news/a[1].jsonl"]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_files_are_read_as_streams(suffix: str, tmp_path: Path) -> None:
    content = lines(0, 50).encode()
    path = tmp_path / f"a.jsonl{suffix}"
    # Such files are put together by `cat`, too.
    path.write_bytes(COMPRESS[suffix](content[:500]) + COMPRESS[suffix](content[500:]))
    found = list(read_corpus(find_sources([str(path)])))
    assert [record.value for record in found] == [json.loads(line) for line in content.splitlines()]
    assert found[-1].position <= path.stat().st_size


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_damaged_file_keeps_what_stands_before_and_loses_no_other(suffix: str, tmp_path: Path) -> None:
    chance = random.Random(0)
    long = "".join(json.dumps({"content": chance.randbytes(500).hex()}) + "\n" for _ in range(600)).encode()
    whole = COMPRESS[suffix](long)
    (tmp_path / f"a.jsonl{suffix}").write_bytes(whole[: len(whole) * 3 // 4])
    (tmp_path / "b.jsonl").write_text(lines(0, 2))
    (tmp_path / f"c.csv{suffix}").write_bytes(b"this was never compressed")
    (tmp_path / "d.jsonl").touch()
    (tmp_path / "e.jsonl").write_text(lines(2, 3))
    sources = find_sources([str(tmp_path)])
    (tmp_path / "e.jsonl").unlink()
    problems: list[Problem] = []
    found = list(read_corpus(sources, tell=problems.append))
    assert {record.source for record in found} == {0, 1}
    kept = sum(record.source == 0 for record in found)
    assert 0 < kept < 600
    assert [record.value for record in found][:kept] == [json.loads(line) for line in long.splitlines()[:kept]]
    assert [(problem.source, problem.lost) for problem in problems] == [(0, True), (2, True), (3, False), (4, True)]
    assert f"{kept:,} records of it were read" in problems[0].message
    assert "holds no records" in problems[2].message
    with pytest.raises(CorpusError, match="is damaged"):
        list(read_corpus(sources))


def test_a_missing_zstandard_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(zstd.compress(b"null\n"))
    monkeypatch.setitem(sys.modules, "backports", None)
    with pytest.raises(CorpusError, match=r"pip install 'distilled-filters\[zstd\]'"):
        list(read_corpus(find_sources([str(tmp_path)])))


def test_urls_are_read_as_files_are() -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/sources/n10.jsonl", lines(1, 2).encode())
    store.pipe("/sources/n9.jsonl.gz", gzip.compress(lines(0, 1).encode()))
    for name in ("memory://sources", "memory://sources/*.jsonl*"):
        sources = find_sources([name])
        assert [source.place and source.place.base for source in sources] == ["n9.jsonl.gz", "n10.jsonl"]
        assert [record.value["id"] for record in read_corpus(sources)] == [0, 1]  # type: ignore[index]


def test_the_web_is_read_as_files_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines(0, 30).encode()))
    handler = partial(SilentHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            (source,) = find_sources([f"{address}/a.jsonl.gz?Signature=secret"])
            assert len(list(read_corpus([source]))) == 30
            assert source.name == f"{address}/a.jsonl.gz"
            assert source.size == (tmp_path / "a.jsonl.gz").stat().st_size
            with pytest.raises(FileNotFoundError, match=r"no file .*b\.jsonl"):
                find_sources([f"{address}/b.jsonl"])
        finally:
            server.shutdown()


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_is_named_as_such(encoding: str, tmp_path: Path) -> None:
    mark = "\ufeff" if encoding.endswith("be") else ""
    for name in ("a.jsonl", "a.csv", "a.json"):
        (tmp_path / name).write_bytes((mark + '{"content": "a"}\n').encode(encoding))
        with pytest.raises(CorpusError, match="iconv"):
            list(read_corpus(find_sources([str(tmp_path / name)])))
