"""Where files lie: paths on this machine and URLs (`s3://`, `gs://`, `https://` ...) behind one type, by fsspec."""

from __future__ import annotations

import os
import posixpath
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from distilled_filters.corpus.errors import CorpusError

__all__ = ["Place", "natural_order", "place_of"]

_WILDCARDS = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Place:
    """A file or a folder, which may not exist yet."""

    name: str
    """As its user wrote it."""
    fs: Any
    path: str

    @property
    def local(self) -> bool:
        """Whether it lies on this machine's own file systems."""
        return "file" in self._protocols

    @property
    def parent(self) -> Place:
        """The folder it lies in."""
        return Place(posixpath.dirname(self.name.rstrip("/")), self.fs, posixpath.dirname(self.path.rstrip("/")))

    @property
    def base(self) -> str:
        """The last part of its name."""
        path = self.path.partition("?")[0] if self._web else self.path
        return path.rstrip("/").rpartition("/")[2]

    def __truediv__(self, child: str) -> Place:
        """Return what lies in this folder under a name, which may hold slashes."""
        return Place(f"{self.name.rstrip('/')}/{child}", self.fs, f"{self.path.rstrip('/')}/{child}")

    def beside(self, suffix: str) -> Place:
        """Return the place whose name is this one's with more at its end."""
        return Place(self.name.rstrip("/") + suffix, self.fs, self.path.rstrip("/") + suffix)

    def exists(self) -> bool:
        """Whether there is a file or a folder."""
        return bool(self.fs.exists(self.path))

    def is_folder(self) -> bool:
        """Whether there is a folder."""
        # fsspec takes a page of the web for a folder of its links, and would fetch the whole file to find them.
        return not self._web and bool(self.fs.isdir(self.path))

    @property
    def _web(self) -> bool:
        return "https" in self._protocols

    @property
    def _protocols(self) -> tuple[str, ...]:
        return (self.fs.protocol,) if isinstance(self.fs.protocol, str) else tuple(self.fs.protocol)

    def size(self) -> int | None:
        """Return the bytes of the file, None where its server does not tell."""
        return cast("int | None", self.fs.size(self.path))

    def fingerprint(self) -> str:
        """Return what a remote file's store tells it apart by: an entity tag, or time and size."""
        return str(self.fs.ukey(self.path))

    def files(self) -> list[Place]:
        """Return the files in a folder and its folders, in natural order, without hidden ones."""
        return [self / child for child in _shown(self.fs.find(self.path), self.path.rstrip("/") + "/")]

    def matches(self) -> list[Place]:
        """Return the files that the name stands for as a pattern with `*`, `**`, `?` and `[...]`, as `files` does."""
        wildcard = _WILDCARDS.search(self.path)
        if wildcard is None or self._web:
            return []
        above = self.path[: self.path.rfind("/", 0, wildcard.start()) + 1]
        found = (above + child for child in _shown(self.fs.glob(self.path), above))
        return [self._found(path) for path in found if self.fs.isfile(path)]

    def _found(self, path: str) -> Place:
        """Return another place of the same file system, named as far as may be as this one is."""
        if "://" in self.name:
            return Place(str(self.fs.unstrip_protocol(path)), self.fs, path)
        return Place(path if os.path.isabs(self.name) else os.path.relpath(path), self.fs, path)

    @contextmanager
    def reading(self) -> Iterator[BinaryIO]:
        """Open the file for reading bytes."""
        with self.fs.open(self.path, "rb") as file:
            yield file

    def read(self) -> bytes:
        """Return the whole of a small file."""
        return cast(bytes, self.fs.cat_file(self.path))

    def make_folder(self) -> None:
        """Make a folder and those above it, where there is none."""
        self.fs.makedirs(self.path, exist_ok=True)

    def remove(self) -> None:
        """Remove a file."""
        self.fs.rm_file(self.path)

    def remove_empty_folder(self) -> None:
        """Remove a folder; on object stores, which have none, there is nothing to do."""
        if self.is_folder():
            self.fs.rmdir(self.path)

    @contextmanager
    def writing(self, partial: Path | None = None) -> Iterator[Path]:
        """Yield a file of this machine to write to, which appears here, whole, when the block ends well.

        On this machine that is `partial`, in the same file system, and it is moved to its name
        once its bytes are on the disk; to an object store a file is put as one object, which
        nobody sees before its end.
        """
        if self.local and partial is not None:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(partial, self.path)
            return
        with tempfile.TemporaryDirectory(prefix="distillery-") as folder:
            written = Path(folder) / "unfinished"
            yield written
            self.fs.put_file(str(written), self.path)


def place_of(name: str) -> Place:
    """Return the place of a path or URL.

    Raises:
        CorpusError: for a protocol that fsspec does not know, or that needs a package more, and
            for a URL with a password, which would come into records of runs.
    """
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    if "://" not in name:
        path = os.path.abspath(name)
        return Place(name, LocalFileSystem(), Path(path).as_posix())
    if "@" in name and urlsplit(name).password is not None:
        raise CorpusError("a URL with a password would come into logs and records; give it by the environment")
    try:
        fs, path = url_to_fs(name)
    except ValueError as error:
        raise CorpusError(f"{name}: {error}") from error
    except ImportError as error:
        protocol = name.partition("://")[0]
        raise CorpusError(f"{name}: {error}; pip install 'fsspec[{_EXTRAS.get(protocol, protocol)}]'") from error
    # What follows in a signed address is a secret too.
    return Place(name.partition("?")[0] if name.startswith("http") else name, fs, str(path))


# fsspec's own extras, where they are not named as their protocol.
_EXTRAS = {"s3a": "s3", "gcs": "gs", "https": "http", "az": "abfs", "abfss": "abfs"}


def _shown(paths: Iterable[str], above: str) -> list[str]:
    """Return the paths in natural order, as they lie below a folder, without what tools and runs hide there."""
    below = (path.removeprefix(above) for path in paths)
    return sorted((child for child in below if not any(map(_is_hidden, child.split("/")))), key=natural_order)


def _is_hidden(name: str) -> bool:
    return name[:1] in (".", "_") or name.endswith((".parts", ".run.json"))


def natural_order(name: str) -> list[tuple[bool, int, str]]:
    """Return a sort key by which `part-2` stands before `part-10`."""
    pieces = re.split(r"([0-9]+)", name)
    return [(piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece) for piece in pieces]
