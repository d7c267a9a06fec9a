"""Writing filter and backbone folders: files first, then the spec that names their digests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tomlkit
from safetensors.numpy import save

from distilled_filters.checkpoints import sha256_of
from distilled_filters.errors import SettingError
from distilled_filters.files import write_bytes, write_text
from distilled_filters.spec import (
    NAME_PATTERN,
    BackboneSpec,
    Checkpoint,
    FileRef,
    FilterSpec,
    read_backbone_spec,
    read_filter_spec,
)

__all__ = ["file_ref", "free_name", "refresh_checkpoint", "write_backbone_spec", "write_checkpoint", "write_head"]


def file_ref(path: Path, folder: Path | None = None) -> FileRef:
    """Return the reference of a file as it is now, by its place in `folder`: by default the one it lies in."""
    name = path.relative_to(folder or path.parent).as_posix()
    return FileRef(path=name, sha256=sha256_of(path), size=path.stat().st_size)


def write_backbone_spec(folder: Path, fields: Mapping[str, Any], kind: type[BackboneSpec] = BackboneSpec) -> None:
    """Write `backbone.toml` beside `model.onnx` and `tokenizer.json`, and check that it is of its kind."""
    document = tomlkit.document()
    for key, value in fields.items():
        document.add(key, tomlkit.item(value))
    for key, name in (("model", "model.onnx"), ("tokenizer", "tokenizer.json")):
        document.add(key, tomlkit.item(file_ref(folder / name).model_dump()))
    write_text(folder / "backbone.toml", tomlkit.dumps(document))
    read_backbone_spec(folder / "backbone.toml", kind)


def write_head(folder: Path, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a filter's `head.safetensors`, atomically."""
    write_bytes(folder / "head.safetensors", save(dict(tensors)))


def write_checkpoint(folder: Path, name: str, fields: Mapping[str, Any], **files: Path) -> None:
    """Put a checkpoint's entry into `filter.toml`, with the digests of its files, and check the spec.

    The files are by default head and tables as they lie in the folder.
    """
    path = folder / "filter.toml"
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    entry = tomlkit.table()
    entry.update({key: value for key, value in fields.items() if not isinstance(value, Mapping)})
    refs = {key: file_ref(path, folder).model_dump() for key, path in (files or _files(folder)).items()}
    for key, value in {**fields, **refs}.items():
        if isinstance(value, Mapping):
            table = tomlkit.inline_table()
            table.update(value)
            entry[key] = table
    checkpoints = document.setdefault("checkpoints", tomlkit.table(is_super_table=True))
    checkpoints[name] = entry
    write_text(path, tomlkit.dumps(document))
    read_filter_spec(path)


def free_name(spec: FilterSpec, name: str, kind: str) -> str:
    """Return the name of a checkpoint to be, which may replace one of its own kind only; `-` and `_` are alike.

    Raises:
        SettingError: when it is no name, or another checkpoint's.
    """
    plain = name.replace("-", "_")
    if not re.fullmatch(NAME_PATTERN, plain):
        raise SettingError(f"{name!r} is no name for a checkpoint; use small letters, figures and _")
    there = spec.checkpoints.get(plain)
    if there is not None and there.kind != kind:
        raise SettingError(f"{spec.name} has a checkpoint {plain} already, of kind {there.kind}; choose another --name")
    return plain


def refresh_checkpoint(folder: Path, name: str, entry: Checkpoint) -> None:
    """Put the digests of a checkpoint's files as they are now into `filter.toml`; all else stays."""
    fields = entry.model_dump(exclude_defaults=True)
    files = {key: folder / value["path"] for key, value in fields.items() if _is_ref(value)}
    write_checkpoint(folder, name, {key: value for key, value in fields.items() if key not in files}, **files)


def _is_ref(value: object) -> bool:
    return isinstance(value, dict) and "sha256" in value


def _files(folder: Path) -> dict[str, Path]:
    return {
        "head": folder / "head.safetensors",
        "calibration": folder / "calibration.json",
        "percentiles": folder / "percentiles.json",
    }
