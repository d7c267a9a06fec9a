"""Where checkpoint files come from: the package or the Hub's cache, never unchecked.

Loading reads local files only; `prefetch` is the one door to the network (AC3).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from distilled_filters.errors import CheckpointError, ChecksumError, MissingFileError
from distilled_filters.spec import FileRef, HubSource

__all__ = ["fetch", "locate", "sha256_of"]


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def locate(ref: FileRef, folder: Path, hub: HubSource | None, owner: str) -> Path:
    """Return a checked local path of `ref`, from `folder` or from the Hub's cache; no network.

    Raises:
        MissingFileError: naming the owner, the file and the command that brings it.
        ChecksumError: when size or digest differ from the spec's.
    """
    path = folder / ref.path if hub is None else _cached(ref, hub)
    if path is None or not path.is_file():
        place = (
            f"in {folder}; reinstall the package" if hub is None else f"in the cache; run `distillery prefetch {owner}`"
        )
        raise MissingFileError(f"{owner}: {ref.path} is not {place}")
    return _checked(path, ref, owner)


def fetch(ref: FileRef, hub: HubSource, owner: str) -> Path:
    """Download one file at its pinned revision into the Hub's cache and check it.

    Raises:
        CheckpointError: when the Hub cannot be reached or lacks the file.
        ChecksumError: when what came differs from the spec; the cached copy is removed.
    """
    from huggingface_hub import hf_hub_download

    try:
        path = Path(hf_hub_download(hub.repo, ref.path, revision=hub.revision))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{owner}: could not fetch {ref.path} from {hub.repo}: {error}") from error
    try:
        return _checked(path, ref, owner)
    except ChecksumError:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise


def _cached(ref: FileRef, hub: HubSource) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub.repo, ref.path, revision=hub.revision)
    return Path(found) if isinstance(found, str) else None


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
    return path
