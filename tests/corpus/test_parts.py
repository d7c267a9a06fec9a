from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from distilled_filters.checkpoints import sha256_of
from distilled_filters.corpus.errors import ResumeError
from distilled_filters.corpus.formats import FORMATS
from distilled_filters.corpus.manifest import differences, manifest
from distilled_filters.corpus.outputs import Output
from distilled_filters.corpus.parts import Parts
from distilled_filters.corpus.places import place_of
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.sources import find_sources
from distilled_filters.filter import Filter
from tests.compositions import add_cascade
from tests.conftest import House
from tests.language_models import CHECKPOINT, add_expert

SETTINGS = {"format": "jsonl", "inputs": [{"path": "a.jsonl", "size": 3}]}


class _CrashError(Exception):
    pass


def _rows(each: Filter, first: int, last: int, *, crash: bool = False) -> Iterator[Row]:
    for number in range(first, last):
        yield Row(number, f"title {number}", {"uplifting": each.score(None)})
    if crash:
        raise _CrashError


def _parts(output: Path, settings: dict[str, Any] = SETTINGS) -> Parts:
    return Parts(Output(place_of(str(output)), "jsonl"), FORMATS["jsonl"]([]), settings, part_rows=3)


@pytest.fixture
def crashed(uplifting: Filter, tmp_path: Path) -> Path:
    """The output of a run that died after 7 of 11 rows, so with two whole parts."""
    parts = _parts(tmp_path / "out.jsonl")
    parts.begin()
    with pytest.raises(_CrashError):
        parts.write(_rows(uplifting, 0, 7, crash=True))
    parts.close()
    return tmp_path / "out.jsonl"


def test_a_run_leaves_the_output_alone(uplifting: Filter, tmp_path: Path) -> None:
    parts = _parts(tmp_path / "out.jsonl")
    parts.begin()
    parts.write(_rows(uplifting, 0, 11))
    assert not (tmp_path / "out.jsonl").exists()
    parts.finish({})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.run.json"]
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 11
    assert parts.statistics.statuses == {"invalid": 11}


def test_ac23_resume_goes_on_after_the_last_whole_part(uplifting: Filter, crashed: Path, tmp_path: Path) -> None:
    parts = _parts(crashed)
    parts.begin(resume=True)
    assert parts.start.row == 6
    parts.write(_rows(uplifting, parts.start.row, 11))
    parts.finish({})
    whole = _parts(tmp_path / "whole.jsonl")
    whole.begin()
    whole.write(_rows(uplifting, 0, 11))
    whole.finish({})
    assert crashed.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert parts.statistics == whole.statistics


def test_a_run_that_died_while_joining_can_be_resumed(uplifting: Filter, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    first = _parts(output)
    first.begin()
    first.write(_rows(uplifting, 0, 4))
    first.close()
    (output.with_name("out.jsonl.parts") / "unfinished").write_text("half a jo")
    output.write_text("what the join had put there just before it died")
    again = _parts(output)
    again.begin(resume=True)
    again.write(_rows(uplifting, again.start.row, 4))
    again.finish({})
    assert len(output.read_text().splitlines()) == 4


def test_a_run_that_died_before_its_manifest_can_be_resumed(uplifting: Filter, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.parts").mkdir()
    parts = _parts(tmp_path / "out.jsonl")
    parts.begin(resume=True)
    assert parts.start.row == 0


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"force": True}], ids=str)
def test_a_second_run_is_kept_out_while_the_first_writes(
    uplifting: Filter, tmp_path: Path, how: dict[str, bool]
) -> None:
    first = _parts(tmp_path / "out.jsonl")
    first.begin()
    first.write(_rows(uplifting, 0, 4))
    with pytest.raises(ResumeError, match=r"out\.jsonl is being written by another run, .*lock; wait for its end"):
        _parts(tmp_path / "out.jsonl").begin(**how)
    first.write(_rows(uplifting, 4, 7))
    first.finish({})
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 7


def test_a_run_that_is_refused_keeps_no_lock(crashed: Path) -> None:
    refused = _parts(crashed)
    with pytest.raises(ResumeError, match="unfinished run"):
        refused.begin()
    _parts(crashed).begin(resume=True)


def test_leftovers_are_refused_without_resume_or_force(crashed: Path) -> None:
    with pytest.raises(ResumeError, match=r"--resume.*--force"):
        _parts(crashed).begin()
    parts = _parts(crashed)
    parts.begin(force=True)
    assert parts.start.row == 0


def test_a_finished_output_is_refused_without_force(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("precious")
    with pytest.raises(ResumeError, match="exists already; replace it with --force"):
        _parts(output).begin()
    with pytest.raises(ResumeError, match="nothing to resume"):
        _parts(output).begin(resume=True)
    _parts(output).begin(force=True)
    assert output.read_text() == "precious"


def test_resume_with_other_settings_names_what_differs(crashed: Path) -> None:
    other = {"format": "jsonl", "inputs": [{"path": "a.jsonl", "size": 4}, {"path": "b.jsonl"}]}
    with pytest.raises(ResumeError) as error:
        _parts(crashed, other).begin(resume=True)
    assert "inputs.0.size was 3 and is 4" in str(error.value)
    assert "inputs.1.path was absent and is b.jsonl" in str(error.value)
    assert "format" not in str(error.value).replace("--format", "")


def test_the_manifest_changes_with_inputs_and_filters(uplifting: Filter, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("null\n")
    before = manifest(find_sources([str(path)]), [uplifting], "csv")
    assert before == manifest(find_sources([str(path)]), [uplifting], "csv")
    path.write_text("true\n")
    after = manifest(find_sources([str(path)]), [uplifting], "csv")
    assert before["inputs"] != after["inputs"]
    assert before["filters"]["uplifting"]["version"] == uplifting.version


def test_resume_with_other_libraries_is_refused(
    uplifting: Filter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first half of an output could be scored by one runtime and the second half by another."""
    for name in ("onnxruntime", "ftfy", "tokenizers", "resiliparse"):
        settings = manifest([], [uplifting], "jsonl")
        output = tmp_path / f"{name}.jsonl"
        begun = _parts(output, settings)
        begun.begin()
        begun.close()
        with monkeypatch.context() as patch:
            patch.setattr(
                "distilled_filters.corpus.manifest.version",
                lambda each, name=name: "0.1" if each == name else version(each),
            )
            other = manifest([], [uplifting], "jsonl")
        with pytest.raises(ResumeError, match=rf"libraries\.{name} was {version(name)} and is 0\.1\. Restore"):
            _parts(output, other).begin(resume=True)
        _parts(output, settings).begin(resume=True)
    assert "pyarrow" in manifest([], [uplifting], "parquet")["libraries"]
    assert "pyarrow" not in manifest([], [uplifting], "csv")["libraries"]


def test_the_manifest_of_an_expert_says_where_it_runs(house: House) -> None:
    pytest.importorskip("peft")
    folder = add_expert(house)
    add_cascade(folder, [])
    student, expert, other, cascade = (
        manifest([], [Filter(folder, threads=1, **options)], "csv")
        for options in (
            {},
            {"checkpoint": CHECKPOINT},
            {"checkpoint": CHECKPOINT, "precision": "bf16"},
            {"checkpoint": "cascade"},
        )
    )
    assert "torch" not in student["libraries"]
    assert "torch" in expert["libraries"]
    assert cascade["libraries"] == expert["libraries"]
    assert cascade["filters"]["uplifting"]["head_sha256"] == sha256_of(folder / "cascade" / "cascade.json")
    assert differences(expert, other) == ["filters.uplifting.precision was absent and is bf16"]


@pytest.mark.parametrize("how", [{"resume": True}, {"force": True}])
def test_files_that_no_run_made_are_never_deleted(tmp_path: Path, how: dict[str, bool]) -> None:
    output = tmp_path / "scores.jsonl"
    precious = tmp_path / "scores.jsonl.parts" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(ResumeError, match=r"precious\.txt"):
        _parts(output).begin(**how)
    assert precious.read_text() == "mine"
