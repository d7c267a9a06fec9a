from __future__ import annotations

import errno
import gzip
import json
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import pytest

from distilled_filters.corpus import run as run_module
from distilled_filters.corpus.errors import CorpusError, ResumeError
from distilled_filters.corpus.formats import TextFormat
from distilled_filters.corpus.outputs import plan_output
from distilled_filters.corpus.parts import Parts
from distilled_filters.corpus.places import Place, place_of
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.run import Outcome, Run, Scorer
from distilled_filters.corpus.sources import find_sources
from distilled_filters.filter import Filter
from tests.corpus.conftest import CrashError, crashing, lines, titles


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "PART_ROWS", 4)


@pytest.fixture
def news(tmp_path: Path) -> Path:
    """A folder with 7, 0, 11 and 5 records, one file cut short and one in a folder of its own."""
    folder = tmp_path / "news"
    (folder / "more").mkdir(parents=True)
    (folder / "n1.jsonl").write_text(lines(0, 7))
    (folder / "n2.jsonl").touch()
    (folder / "n9.jsonl.gz").write_bytes(gzip.compress(lines(7, 18).encode()))
    (folder / "n9b.csv.gz").write_bytes(gzip.compress(b"title,content\n" + b"a,b\n" * 9)[:20])
    (folder / "more" / "n10.jsonl").write_text(lines(18, 23))
    return folder


def _write(inputs: Sequence[object], output: object, filters: Sequence[Filter], score: Scorer, **how: Any) -> Outcome:
    sources = find_sources([str(name) for name in inputs])
    target = plan_output(str(output), how.pop("form", None), how.pop("shard_rows", None), sources)
    return Run(sources, filters, score).write(target, **how)


def _tree(folder: Path) -> dict[str, bytes]:
    """The files of scores in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "_run.json"
    }


def test_a_folder_has_a_file_for_each_input_with_records(
    news: Path, tmp_path: Path, uplifting: Filter, no_score: Scorer
) -> None:
    outcome = _write([news], f"{tmp_path}/out/", [uplifting], no_score)
    assert list(_tree(tmp_path / "out")) == ["more/n10.jsonl", "n1.jsonl", "n9.jsonl"]
    assert titles(tmp_path / "out" / "n9.jsonl") == [f"title {number}" for number in range(7, 18)]
    rows = [json.loads(line)["row"] for line in (tmp_path / "out" / "n9.jsonl").read_text().splitlines()]
    assert rows == list(range(11)), "a file counts its own rows"
    assert outcome.statistics.rows == 23
    assert outcome.unread
    record = json.loads((tmp_path / "out" / "_run.json").read_text())
    assert record["settings"]["filters"]["uplifting"]["version"] == uplifting.version
    assert record["settings"]["files"] == ["more/n10.jsonl", "n1.jsonl", "n9.jsonl"]
    assert record["statistics"]["statuses"] == {"no_content": 23}
    assert [problem.split(": ")[0] for problem in record["problems"]] == [
        f"{news}/n2.jsonl holds no records",
        f"{news}/n9b.csv.gz is damaged",
    ]


def test_a_folder_has_files_of_so_many_rows(news: Path, tmp_path: Path, uplifting: Filter, no_score: Scorer) -> None:
    _write([news], tmp_path / "out", [uplifting], no_score, shard_rows=10)
    names = ["part-00000.jsonl", "part-00001.jsonl", "part-00002.jsonl"]
    assert list(_tree(tmp_path / "out")) == names
    found = [titles(tmp_path / "out" / name) for name in names]
    assert [len(each) for each in found] == [10, 10, 3]
    order = [*range(18, 23), *range(18)]  # the folder `more` comes first
    assert [title for each in found for title in each] == [f"title {number}" for number in order]


@pytest.mark.parametrize("how", [{}, {"shard_rows": 10}, {"form": "parquet"}], ids=str)
def test_ac23_a_crash_after_any_row_costs_no_row(
    how: dict[str, Any], news: Path, tmp_path: Path, uplifting: Filter, no_score: Scorer
) -> None:
    whole, crashed = tmp_path / "whole", tmp_path / "crashed"
    expected = _write([news], f"{whole}/", [uplifting], no_score, **how)
    for after in range(1, 23, 3):
        with pytest.raises(CrashError):
            _write([news], f"{crashed}/", [uplifting], crashing(no_score, after), force=True, **how)
        assert not (crashed / "_run.json").exists()
        outcome = _write([news], f"{crashed}/", [uplifting], no_score, resume=True, **how)
        assert outcome.earlier <= after
        assert outcome.statistics == expected.statistics
        assert [problem.message for problem in outcome.problems] == [problem.message for problem in expected.problems]
        assert _tree(crashed) == _tree(whole)
        assert not (crashed / "_unfinished").exists()


def test_ac23_many_crashes_in_one_run_cost_no_row(
    news: Path, tmp_path: Path, uplifting: Filter, no_score: Scorer
) -> None:
    for output in (f"{tmp_path}/out/", str(tmp_path / "out.jsonl")):
        for _ in range(30):
            try:
                outcome = _write([news], output, [uplifting], crashing(no_score, 5), resume=True)
                break
            except CrashError:
                continue
        assert outcome.statistics.rows == 23
        assert outcome.earlier > 10
    assert sorted(titles(tmp_path / "out.jsonl")) == sorted(f"title {number}" for number in range(23))
    assert sum(len(titles(path)) for path in (tmp_path / "out").rglob("*.jsonl")) == 23


@pytest.mark.parametrize("method", ["_write_json", "_remove_joined", "_clear", "discard"])
@pytest.mark.parametrize("name", ["out/", "out.jsonl"])
def test_ac23_a_crash_at_any_step_costs_no_row(
    method: str, name: str, news: Path, tmp_path: Path, uplifting: Filter, no_score: Scorer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "whole").mkdir()
    _write([news], f"{tmp_path}/whole/{name}", [uplifting], no_score)
    output, step = f"{tmp_path}/{name}", getattr(Parts, method)
    left = 0

    def dying(self: Parts, *arguments: Any) -> None:
        nonlocal left
        if left == 0:
            raise CrashError
        left -= 1
        step(self, *arguments)

    # Each time a step later, until none is left to die at.
    for steps in range(40):
        left = steps
        with monkeypatch.context() as patch, suppress(CrashError):
            patch.setattr(Parts, method, dying)
            _write([news], output, [uplifting], no_score, force=True)
            break
        with suppress(ResumeError):  # where it died after all was done
            _write([news], output, [uplifting], no_score, resume=True)
        if name == "out/":
            assert _tree(tmp_path / "out") == _tree(tmp_path / "whole" / "out")
        else:
            assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole" / "out.jsonl").read_bytes()
    assert steps > 0


def test_urls_are_written_as_files_are(news: Path, tmp_path: Path, uplifting: Filter, no_score: Scorer) -> None:
    store, remote = fsspec.filesystem("memory"), "memory://remote/scores/"
    _write([news], f"{tmp_path}/local/", [uplifting], no_score, form="parquet")
    for after in (3, 9, 20):
        with pytest.raises(CrashError):
            _write([news], remote, [uplifting], crashing(no_score, after), form="parquet", force=True)
        with pytest.raises(ResumeError, match="unfinished run; go on with --resume"):
            _write([news], remote, [uplifting], no_score, form="parquet")
        _write([news], remote, [uplifting], no_score, form="parquet", resume=True)
        found = {name.removeprefix("/remote/scores/"): store.cat(name) for name in store.find("/remote/scores")}
        found.pop("_run.json")
        assert found == _tree(tmp_path / "local")
    _write([news], "memory://remote/one.csv", [uplifting], no_score)
    assert store.cat("/remote/one.csv").count(b"\n") == 24
    assert not store.exists("/remote/one.csv.parts")
    with pytest.raises(ResumeError, match="exists already"):
        _write([news], "memory://remote/one.csv", [uplifting], no_score)


def test_a_changed_remote_input_is_not_resumed(uplifting: Filter, no_score: Scorer, tmp_path: Path) -> None:
    place = place_of("memory://changing/a.jsonl")
    with place.writing() as partial:
        partial.write_text(lines(0, 9))
    with pytest.raises(CrashError):
        _write([place.name], tmp_path / "out.jsonl", [uplifting], crashing(no_score, 5))
    with place.writing() as partial:
        partial.write_text(lines(1, 10))
    with pytest.raises(ResumeError, match=r"inputs\.0\.fingerprint was"):
        _write([place.name], tmp_path / "out.jsonl", [uplifting], no_score, resume=True)


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"force": True}], ids=str)
def test_a_folder_with_other_files_is_left_alone(
    how: dict[str, bool], news: Path, tmp_path: Path, uplifting: Filter, no_score: Scorer
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    with pytest.raises(ResumeError, match=r"no run made \(precious\.txt\)"):
        _write([news], tmp_path / "out", [uplifting], no_score, **how)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious.txt"]
    # Nor is a file that came into the folder of a finished run.
    (tmp_path / "out" / "precious.txt").rename(tmp_path / "precious.txt")
    _write([news], tmp_path / "out", [uplifting], no_score)
    (tmp_path / "precious.txt").rename(tmp_path / "out" / "precious.txt")
    with pytest.raises(ResumeError, match=r"exists already|no run made"):
        _write([news], tmp_path / "out", [uplifting], no_score, **how)
    assert (tmp_path / "out" / "precious.txt").read_text() == "mine"


def test_force_removes_the_files_of_the_run_before(
    news: Path, tmp_path: Path, uplifting: Filter, no_score: Scorer
) -> None:
    _write([news], tmp_path / "out", [uplifting], no_score, shard_rows=5)
    assert len(_tree(tmp_path / "out")) == 5
    with pytest.raises(ResumeError, match="nothing to resume"):
        _write([news], tmp_path / "out", [uplifting], no_score, shard_rows=5, resume=True)
    _write([news], tmp_path / "out", [uplifting], no_score, shard_rows=20, force=True)
    assert list(_tree(tmp_path / "out")) == ["part-00000.jsonl", "part-00001.jsonl"]


def test_resume_with_other_shards_is_refused(news: Path, tmp_path: Path, uplifting: Filter, no_score: Scorer) -> None:
    with pytest.raises(CrashError):
        _write([news], tmp_path / "out", [uplifting], crashing(no_score, 9), shard_rows=10)
    with pytest.raises(ResumeError, match=r"output\.shard_rows was 10 and is 20"):
        _write([news], tmp_path / "out", [uplifting], no_score, shard_rows=20, resume=True)


def test_an_output_among_its_inputs_is_no_input(news: Path, uplifting: Filter, no_score: Scorer) -> None:
    for output in (f"{news}/scores/", f"{news}/scores.jsonl"):
        place = place_of(output)

        def score(scorer: Scorer, output: str = output, place: Place = place, **how: bool) -> Outcome:
            sources = find_sources([str(news)], output=place)
            return Run(sources, [uplifting], scorer).write(plan_output(output, None, None, sources), **how)

        with pytest.raises(CrashError):
            score(crashing(no_score, 15))
        assert score(no_score, resume=True).statistics.rows == 23
        assert score(no_score, force=True).statistics.rows == 23
        place.fs.rm(place.path, recursive=True)


def test_a_folder_is_named_and_ends_as_it_should(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    sources = find_sources([str(tmp_path / "a.jsonl")])
    assert plan_output(str(tmp_path / "b.parquet"), None, 10, sources).form == "parquet"
    assert plan_output(str(tmp_path), "csv", None, sources).names == ("a.csv",)
    (tmp_path / "b.parquet").touch()
    with pytest.raises(CorpusError, match="is a file"):
        plan_output(str(tmp_path / "b.parquet"), None, 10, sources)


def test_two_inputs_for_one_file_and_inputs_as_outputs_are_refused(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv"):
        (tmp_path / name).touch()
    sources = find_sources([str(tmp_path)])
    with pytest.raises(CorpusError, match=r"a\.csv and .*a\.jsonl would both go to a\.jsonl; .*--shard-rows"):
        plan_output(f"{tmp_path}/out/", None, None, sources)
    with pytest.raises(CorpusError, match="is an input too"):
        plan_output(str(tmp_path / "a.csv"), None, None, sources)
    with pytest.raises(CorpusError, match="no folder"):
        plan_output(str(tmp_path / "absent" / "b.csv"), None, None, sources)
    with pytest.raises(CorpusError, match="--format"):
        plan_output(str(tmp_path / "b"), None, None, sources)


def test_inputs_that_are_all_unreadable_end_the_run_and_leave_nothing(
    tmp_path: Path, uplifting: Filter, no_score: Scorer
) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"not compressed")
    with pytest.raises(CorpusError, match="is damaged"):
        _write([tmp_path / "a.jsonl.gz"], tmp_path / "out.jsonl", [uplifting], no_score)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl.gz"]


def test_a_full_disk_keeps_what_is_done(
    tmp_path: Path, uplifting: Filter, no_score: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text(lines(0, 20))
    write, output = TextFormat.write, tmp_path / "out.jsonl"

    def full(self: TextFormat, path: Path, rows: Sequence[Row]) -> None:
        if rows[0].row >= 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, path, rows)

    with monkeypatch.context() as patch:
        patch.setattr(TextFormat, "write", full)
        with pytest.raises(
            CorpusError, match=r"No space left.*12 rows are kept in .*out\.jsonl\.parts; go on with --res"
        ):
            _write([tmp_path / "a.jsonl"], output, [uplifting], no_score)
    assert _write([tmp_path / "a.jsonl"], output, [uplifting], no_score, resume=True).earlier == 12
    assert titles(output) == [f"title {number}" for number in range(20)]


def test_ac07_memory_is_bounded_by_the_parts_not_by_the_corpus(
    tmp_path: Path, uplifting: Filter, no_score: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "PART_ROWS", 100)

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.jsonl.gz"
        with gzip.open(path, "wt", compresslevel=1) as file:
            file.writelines(json.dumps({"content": "x" * 2000}) + "\n" for _ in range(count))
        tracemalloc.start()
        _write([path], tmp_path / f"{count}.out.jsonl", [uplifting], no_score, form="jsonl")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(200)  # what is imported and cached once
    assert peak(3000) < 1.3 * peak(300) < 3000 * 2000
