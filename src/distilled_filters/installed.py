"""What a distribution recorded of its files when it was built: the digests in its `RECORD`.

A spec holds the digests of weights; the record also covers the spec itself, the prompt, the
golden articles and the card. An editable install records none of them: there, git tells.
"""

from __future__ import annotations

import base64
import csv
import functools
import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path

from distilled_filters.checkpoints import sha256_of
from distilled_filters.errors import ChecksumError, MissingFileError

__all__ = ["check_recorded", "digests_of", "forget", "recorded", "reinstall"]


def recorded(distribution: str) -> Mapping[Path, str]:
    """Return the SHA-256 of every file that an installed distribution recorded, by real path; empty if none."""
    return _recorded(distribution)


def check_recorded(path: Path, distribution: str) -> None:
    """Compare a file with what its distribution recorded, where it did.

    Raises:
        ChecksumError: when the bytes are others.
        MissingFileError: when the file is gone.
    """
    wanted = recorded(distribution).get(Path(os.path.realpath(path)))
    if wanted is None:
        return
    if not path.is_file():
        raise MissingFileError(f"{path} is missing; {reinstall(distribution)}")
    if sha256_of(path) != wanted:
        raise ChecksumError(
            f"{path} is not the file that {distribution} was built with: it is damaged or edited; "
            f"{reinstall(distribution)}"
        )


def reinstall(distribution: str) -> str:
    """Return the pip line that brings an installed distribution's files anew."""
    try:
        version = f"=={importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return f"pip install --force-reinstall --no-deps {distribution}{version}"


def digests_of(record: str) -> dict[str, str]:
    """Return the hex SHA-256 of every file a RECORD names (https://packaging.python.org, recording installs)."""
    found = {}
    for name, digest, *_ in csv.reader(record.splitlines()):
        algorithm, _, value = digest.partition("=")
        if algorithm == "sha256":
            found[name] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    return found


def forget() -> None:
    """Read records afresh; for tests and long-lived tools that install something."""
    _recorded.cache_clear()


@functools.cache
def _recorded(distribution: str) -> Mapping[Path, str]:
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return {}
    record = found.read_text("RECORD") or ""
    return {Path(os.path.realpath(str(found.locate_file(name)))): digest for name, digest in digests_of(record).items()}
