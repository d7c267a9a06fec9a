"""A wheel of filters, looked into without installing it: whole, data only, and safe to unpack."""

from __future__ import annotations

import configparser
import hashlib
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path, PurePosixPath

from distilled_filters.errors import CheckpointError, ChecksumError
from distilled_filters.installed import digests_of
from distilled_filters.registry import ENTRY_POINT_GROUP

__all__ = ["Wheel", "unpack"]

# Filters are data: text, tables and tensors. `.py` is for the package's own, empty, __init__.
_FORMATS = frozenset({".toml", ".md", ".json", ".jsonl", ".safetensors", ".onnx", ".py"})
_PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_LARGEST = 16 * 2**30
_MOST_FILES = 10_000
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Wheel:
    """An unpacked wheel.

    Attributes:
        distribution: Its name.
        version: Its version.
        requires: Its requirements.
        homes: The folder of every filter it brings, by name; it holds `v<major>/filter.toml`.
    """

    distribution: str
    version: str
    requires: tuple[str, ...]
    homes: Mapping[str, Path]


def unpack(path: Path, into: Path) -> Wheel:
    """Unpack a wheel of filters into an empty folder, with every file checked against the wheel's record.

    Raises:
        CheckpointError: when it is no wheel of filters, or has a path that leads out, a link, a file that
            is neither data nor metadata, or more than a filter can hold.
        ChecksumError: when a file is not the one its record names.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _refuse_unsafe(path, entries)
            info = _only(path, {PurePosixPath(entry.filename).parts[0] for entry in entries}, ".dist-info")
            record = digests_of(archive.read(f"{info}/RECORD").decode("utf-8"))
            for entry in entries:
                _unpack_one(path, archive, entry, into, record.get(entry.filename), f"{info}/RECORD")
            names = {entry.filename for entry in entries}
            if missing := sorted(set(record) - names):
                raise ChecksumError(f"{path}: {missing[0]} is in its record and missing")
            metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode("utf-8"))
            points = configparser.ConfigParser(delimiters=("=",))
            if f"{info}/entry_points.txt" in names:
                points.read_string(archive.read(f"{info}/entry_points.txt").decode("utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, ValueError, configparser.Error) as error:
        raise CheckpointError(f"{path} is not a whole wheel: {error}") from error
    except FileExistsError as error:
        raise CheckpointError(f"{path} is not a whole wheel: it holds {error.filename} twice") from error
    if ENTRY_POINT_GROUP not in points:
        raise CheckpointError(f"{path} brings no filter: it has no entry point in the group {ENTRY_POINT_GROUP}")
    homes = {}
    for name, package in points[ENTRY_POINT_GROUP].items():
        homes[name] = into.joinpath(*package.split("."))
        if not _PACKAGE.fullmatch(package) or not homes[name].is_dir():
            raise CheckpointError(f"{path} promises the filter {name} in {package!r} and lacks it")
    return Wheel(
        distribution=str(metadata["Name"]),
        version=str(metadata["Version"]),
        requires=tuple(map(str, metadata.get_all("Requires-Dist") or ())),
        homes=homes,
    )


def _refuse_unsafe(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > _MOST_FILES or sum(entry.file_size for entry in entries) > _LARGEST:
        raise CheckpointError(f"{path} unpacks to more than {_MOST_FILES:,} files or {_LARGEST / 2**30:.0f} GiB")
    for entry in entries:
        name = PurePosixPath(entry.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in entry.filename or ":" in entry.filename:
            raise CheckpointError(f"{path}: {entry.filename!r} leads out of the wheel")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise CheckpointError(f"{path}: {entry.filename} is a link; a wheel of filters holds files only")
        if not name.parts[0].endswith(".dist-info") and name.suffix not in _FORMATS:
            raise CheckpointError(
                f"{path}: {entry.filename} is of a format that filters do not have; weights are safetensors or ONNX"
            )


def _only(path: Path, names: set[str], ending: str) -> str:
    found = [name for name in names if name.endswith(ending)]
    if len(found) != 1:
        raise CheckpointError(f"{path} is not a whole wheel: it has {len(found)} folders *{ending}")
    return found[0]


def _unpack_one(
    path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, into: Path, wanted: str | None, record: str
) -> None:
    """Write one file, taking no more bytes than the directory of the archive promises."""
    target = into / entry.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(entry) as source, target.open("xb") as file:
        while piece := source.read(_PIECE):
            digest.update(piece)
            file.write(piece)
    if entry.filename != record and digest.hexdigest() != wanted:
        raise ChecksumError(
            f"{path}: {entry.filename} is not the file that its record names; it is damaged or replaced"
        )
