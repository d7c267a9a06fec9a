"""Long runs that survive a crash (AC23): rows go to shards beside the output, which join at the end.

A shard appears whole or not at all. A manifest says what made them, so that nothing
goes on with other inputs, filters or settings than it began with. A lock that ends with
its process keeps a second run out.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import distilled_filters
from distilled_filters.checkpoints import sha256_of
from distilled_filters.corpus.errors import ResumeError
from distilled_filters.corpus.formats import Format
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.sources import STANDARD_INPUT, Source
from distilled_filters.filter import Filter

__all__ = ["SHARD_ROWS", "Parts", "Tally", "manifest", "tally_of"]

SHARD_ROWS = 500
"""Rows a shard: what a crash can cost, some seconds of work."""

# Another version of one of these may read an article otherwise, score it otherwise, or write it otherwise.
_LIBRARIES = ("ftfy", "numpy", "onnxruntime", "resiliparse", "tokenizers")
_WRITERS = {"parquet": ("pyarrow",)}

_LOCK = "lock"
_OWN_NAME = re.compile(r"lock|manifest\.json|unfinished|\d{6}\.[a-z.]+")

Tally = Counter[str]
"""How many rows ended with which status."""


class Parts:
    """The folder `OUT.parts` of an unfinished run; one run at a time, from `begin` to `finish` or `close`.

    Args:
        output: Where the joined file goes.
        form: How shards are written and joined.
        settings: What `manifest` returns for the run.
        shard_rows: Rows in every shard but the last.
    """

    def __init__(self, output: Path, form: Format, settings: Mapping[str, Any], *, shard_rows: int) -> None:
        """Compute where things lie; touches no file."""
        self.output = output
        self.folder = output.with_name(output.name + ".parts")
        self.tally: Tally = Counter()
        self._form = form
        self._settings = {**settings, "shard_rows": shard_rows}
        self._shard_rows = shard_rows
        self._shards = 0
        self._lock = FileLock(self.folder / _LOCK, blocking=False)

    @property
    def rows_done(self) -> int:
        """How many rows the whole shards hold at most; a run goes on after them."""
        return self._shards * self._shard_rows

    def begin(self, *, resume: bool = False, force: bool = False) -> None:
        """Make the folder, or take up the one of an earlier run.

        Raises:
            ResumeError: when there is an output or a folder already and neither `resume`
                nor `force` allows it, when the earlier run had other settings, or while
                another process writes the same output.
        """
        strangers = self._strangers()
        if strangers:
            raise ResumeError(
                f"{self.folder} holds files that no run made ({', '.join(strangers[:3])}); "
                "move them, or name another output"
            )
        unfinished = self.folder.exists()
        if self.output.exists() and not (unfinished or force):
            done = "; it is finished, there is nothing to resume" if resume else ""
            raise ResumeError(f"{self.output} exists already{done}; replace it with --force")
        self.folder.mkdir(exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise ResumeError(
                f"{self.output} is being written by another run, which holds {self._lock.lock_file}; "
                "wait for its end, or name another output"
            ) from error
        try:
            if unfinished and not (resume or force):
                raise ResumeError(
                    f"{self.folder} holds an unfinished run; go on with --resume, or start anew with --force"
                )
            if force:
                self._clear()
            self._record()
        except BaseException:
            self.close()
            raise

    def _record(self) -> None:
        """Write the manifest, or check it against the one that is there."""
        recorded = self.folder / "manifest.json"
        # A run may have died before it wrote its manifest; then it wrote no shard either.
        if recorded.exists():
            self._take_up(json.loads(recorded.read_text(encoding="utf-8")))
        else:
            self._write_json(recorded, self._settings)

    def write(self, rows: Iterable[Row]) -> None:
        """Write the rows after `rows_done` into shards."""
        stream = iter(rows)
        while shard := list(islice(stream, self._shard_rows)):
            tally = tally_of(shard)
            # The tally first: where there is a shard, there is its tally.
            self._write_json(self._tally_path(self._shards), tally)
            self._form.write(self._partial, shard)
            _publish(self._partial, self._shard_path(self._shards))
            self._shards += 1
            self.tally += tally

    def finish(self) -> None:
        """Join the shards into the output, which appears whole or not at all, and remove the folder."""
        self._form.join(self._partial, [self._shard_path(number) for number in range(self._shards)])
        _publish(self._partial, self.output)
        self._clear()
        self.close()
        # Where another run has come in since, the folder is already its own.
        with suppress(OSError):
            (self.folder / _LOCK).unlink()
            self.folder.rmdir()

    def close(self) -> None:
        """Let other runs in; what is done stays to be taken up."""
        self._lock.release()

    def _take_up(self, recorded: Mapping[str, Any]) -> None:
        before, now = _flat(recorded), _flat(self._settings)
        differing = [
            f"{key} was {_short(before.get(key))} and is {_short(now.get(key))}"
            for key in dict.fromkeys([*before, *now])
            if before.get(key) != now.get(key)
        ]
        if differing:
            raise ResumeError(
                f"{self.folder} was begun with other settings: {'; '.join(differing)}. "
                "Restore them, or start anew with --force"
            )
        while self._shard_path(self._shards).exists():
            self.tally += Counter(json.loads(self._tally_path(self._shards).read_text(encoding="utf-8")))
            self._shards += 1

    def _strangers(self) -> list[str]:
        """Return the names in the folder that are not a run's, for a run must never delete what it did not make."""
        if not self.folder.exists():
            return []
        return sorted(path.name for path in self.folder.iterdir() if not _OWN_NAME.fullmatch(path.name))

    def _clear(self) -> None:
        """Remove all but the lock."""
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                path.unlink()

    @property
    def _partial(self) -> Path:
        return self.folder / "unfinished"

    def _write_json(self, path: Path, value: Mapping[str, Any]) -> None:
        self._partial.write_text(json.dumps(value, indent=1), encoding="utf-8")
        _publish(self._partial, path)

    def _shard_path(self, number: int) -> Path:
        return self.folder / f"{number:06d}{self._form.suffix}"

    def _tally_path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.tally.json"


def manifest(sources: Sequence[Source], filters: Sequence[Filter], form: str) -> dict[str, Any]:
    """Return everything the bytes of a run's output depend on; reads the inputs once for their digests.

    Standard input has no digest and can only be scored in one go.
    """
    return {
        "engine": distilled_filters.__version__,
        "libraries": {name: version(name) for name in (*_LIBRARIES, *_WRITERS.get(form, ()))},
        "format": form,
        "inputs": [
            {"path": source.name}
            if source.name == STANDARD_INPUT
            else {"path": source.name, "size": source.size, "sha256": sha256_of(Path(source.name))}
            for source in sources
        ],
        "filters": {
            each.name: {
                "version": each.version,
                "checkpoint": each.checkpoint,
                "spec_sha256": sha256_of(each.folder / "filter.toml"),
                "backbone_sha256": each.weights.backbone_sha256,
                "head_sha256": each.weights.head.sha256,
            }
            for each in filters
        },
        "order": [each.name for each in filters],
    }


def tally_of(rows: Iterable[Row]) -> Tally:
    """Count the rows by status."""
    return Counter(row.status.value for row in rows)


def _publish(partial: Path, path: Path) -> None:
    """Move a written file to its name once its bytes are on the disk."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def _flat(value: object, key: str = "") -> dict[str, object]:
    """Return the leaves of nested settings by dotted keys."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return {key.removeprefix("."): value}
    return {name: leaf for part, inner in value.items() for name, leaf in _flat(inner, f"{key}.{part}").items()}


def _short(value: object) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) < 64 else f"{text[:12]}..."
