"""Where checkpoint files come from: the filter's folder or the Hub's cache, never unchecked.

Loading reads local files only; `fetch` is the one door to the network (AC3).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from distilled_filters import hub
from distilled_filters.errors import CheckpointError, ChecksumError, HubError, MissingFileError
from distilled_filters.onnx_file import refuse_external_data
from distilled_filters.spec import FileRef, HubSource

__all__ = ["FORMATS", "fetch", "locate", "sha256_of"]

FORMATS = frozenset({".safetensors", ".onnx", ".json"})
"""What a checkpoint's files may be: formats that cannot run code (AC17)."""


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def locate(ref: FileRef, folder: Path, source: HubSource | None, owner: str) -> Path:
    """Return a checked local path of `ref`, from `folder`, else from the Hub's cache; no network.

    Raises:
        MissingFileError: naming the owner, the file and the command that brings it.
        ChecksumError: when size or digest differ from the spec's.
        CheckpointError: when the file is of a format that is never opened.
    """
    _refuse_format(ref, owner)
    path: Path | None = folder / ref.path
    if path is not None and not path.is_file() and source is not None:
        path = hub.cached(ref, source)
    if path is None or not path.is_file():
        place = (
            f"in {folder}; reinstall the package"
            if source is None
            else f"in the cache; run `distillery prefetch {owner}`"
        )
        raise MissingFileError(f"{owner}: {ref.path} is not {place}")
    return _checked(path, ref, owner)


def fetch(
    ref: FileRef,
    source: HubSource,
    owner: str,
    *,
    local_files_only: bool = False,
    progress: hub.Progress | None = None,
) -> Path:
    """Return a checked path of a file at its pinned commit, downloaded where the Hub's cache lacks it.

    A damaged copy in the cache is replaced. `local_files_only` makes no network call.

    Raises:
        HubError: when the Hub cannot be reached, refuses, or lacks the file; says what to do.
        MissingFileError: when the cache lacks the file and nothing may be downloaded.
        ChecksumError: when what came differs from the spec; nothing of it is kept.
    """
    _refuse_format(ref, owner)
    path = hub.cached(ref, source)
    if path is not None:
        try:
            path = _checked(path, ref, owner)
            if progress is not None:
                progress(ref.size)
            return path
        except ChecksumError:
            if local_files_only:
                raise
            _forget(path)
    from huggingface_hub import constants

    mend = f"run `distillery prefetch {owner}`"
    if local_files_only:
        raise MissingFileError(f"{owner}: {ref.path} of {source.repo} is not in the cache; {mend} with a network")
    if constants.HF_HUB_OFFLINE:
        raise MissingFileError(
            f"{owner}: {ref.path} of {source.repo} is not in the cache, and HF_HUB_OFFLINE is set; unset it and {mend}"
        )
    try:
        path = hub.download(ref, source, progress)
    except (HubError, ChecksumError) as error:
        raise type(error)(f"{owner}: {error}") from error.__cause__
    try:
        return _checked(path, ref, owner)
    except CheckpointError:
        _forget(path)
        raise


def _forget(path: Path) -> None:
    """Remove a file of the Hub's cache: the blob, and the name that points to it."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _refuse_format(ref: FileRef, owner: str) -> None:
    if Path(ref.path).suffix not in FORMATS:
        raise CheckpointError(
            f"{owner}: {ref.path} is neither safetensors nor ONNX nor JSON; other formats may run code and are not read"
        )


def _checked(path: Path, ref: FileRef, owner: str) -> Path:
    size = path.stat().st_size
    if size != ref.size:
        raise ChecksumError(
            f"{owner}: {path} has {size:,} bytes, the spec says {ref.size:,}; it is damaged or replaced"
        )
    digest = sha256_of(path)
    if digest != ref.sha256:
        raise ChecksumError(
            f"{owner}: {path} has SHA-256 {digest[:12]}, the spec says {ref.sha256[:12]}; it is damaged or replaced"
        )
    if path.suffix == ".onnx":
        refuse_external_data(path, owner)
    return path
