"""Long runs that survive a crash (AC23): rows go to parts in a folder, which join into the output's files.

A part appears whole or not at all, and so does each file of the output. A manifest says
what made them, so that nothing goes on with other inputs, filters or settings than it began
with. On this machine a lock that ends with its process keeps a second run out; object
stores have none, but there two runs with one manifest write the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel

from distilled_filters.corpus.errors import ResumeError
from distilled_filters.corpus.formats import SUFFIXES, Format
from distilled_filters.corpus.manifest import differences
from distilled_filters.corpus.outputs import Output
from distilled_filters.corpus.places import Place
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.sources import Problem, Start
from distilled_filters.corpus.statistics import Statistics

__all__ = ["PART_ROWS", "Parts"]

PART_ROWS = 500
"""Rows a part: what a crash can cost, some seconds of work."""

_LOCK, _MANIFEST, _STATE, _PARTIAL = "lock", "manifest.json", "state.json", "unfinished"
_OWN_NAME = re.compile(r"lock|manifest\.json|state\.json|unfinished|\d{6,}\.[a-z.]+")


class _State(BaseModel):
    """How far a run has come: what a part says of itself, and what all parts before it say together."""

    start: Start = Start()
    """Where reading goes on."""
    statistics: Statistics = Statistics()
    problems: list[Problem] = []
    """Of inputs that lie behind."""
    shards: list[str] = []
    """Files of the output that are whole; of a part, the one it belongs to."""
    parts: int = 0
    """Parts that are in them."""


class Parts:
    """The unfinished run of an output; one run at a time, from `begin` to `finish` or `close`.

    Args:
        output: Where the rows go.
        form: How they are written.
        settings: What `manifest` returns for the run.
        part_rows: Rows in every part but the last of a file.
    """

    def __init__(self, output: Output, form: Format, settings: Mapping[str, Any], *, part_rows: int) -> None:
        """Compute where things lie; touches no file."""
        self.output = output
        self.folder = output.staging
        self._form = form
        self._settings = {**settings, "output": {**output.settings, "part_rows": part_rows}}
        self._part_rows = part_rows
        self._done = _State()
        self._open = 0
        self._lock = FileLock(Path(self.folder.path) / _LOCK, blocking=False) if self.folder.local else None

    @property
    def start(self) -> Start:
        """Where reading must begin, so that the rows go on after those that are there."""
        return self._done.start

    @property
    def statistics(self) -> Statistics:
        """What is known of the rows that are there."""
        return self._done.statistics

    @property
    def problems(self) -> list[Problem]:
        """What is known of inputs that could not be read; add to it what reading tells."""
        return self._done.problems

    def begin(self, *, resume: bool = False, force: bool = False) -> None:
        """Make the folder, or take up the one of an earlier run.

        Raises:
            ResumeError: when there is an output or a folder already and neither `resume`
                nor `force` allows it, when the earlier run had other settings, or while
                another process writes the same output.
        """
        unfinished = self.folder.exists()
        if not unfinished:
            if self._finished() and not force:
                done = "; it is finished, there is nothing to resume" if resume else ""
                raise ResumeError(f"{self.output.place.name} exists already{done}; replace it with --force")
            self._refuse_strangers()
        self.folder.make_folder()
        self._take_lock()
        try:
            if unfinished:
                self._refuse_strangers()
            if unfinished and not (resume or force):
                raise ResumeError(
                    f"{self.folder.name} holds an unfinished run; go on with --resume, or start anew with --force"
                )
            if force:
                self._start_anew()
            self._take_up()
        except BaseException:
            self.close()
            raise

    def write(self, rows: Iterable[Row]) -> None:
        """Write the rows from `start` on into parts; where rows of another file follow, join those before."""
        for name, group in groupby(rows, key=self.output.shard_of):
            if self._open and self._done.shards[-1] != name:
                self._join()
            while part := list(islice(group, self._part_rows)):
                self._write_part(name, part)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the record of a run that is complete, with `summary` in it, and remove the folder."""
        if self._open:
            self._join()
        elif not (self.output.is_folder or self._done.shards):
            # No row, but an output all the same.
            self._done.shards.append("")
            self._join()
        settings = {**self._settings, "files": self._done.shards if self.output.is_folder else [self.output.place.base]}
        self._write_json(self.output.record, {"settings": settings, **summary})
        self.discard()

    def discard(self) -> None:
        """Remove the folder, with what is in it."""
        self._clear()
        self.close()
        # Where another run has come in since, the folder is already its own.
        with suppress(OSError):
            if self._lock is not None:
                (self.folder / _LOCK).remove()
            self.folder.remove_empty_folder()

    def close(self) -> None:
        """Let other runs in; what is done stays to be taken up."""
        if self._lock is not None:
            self._lock.release()

    def _write_part(self, name: str, rows: list[Row]) -> None:
        last = rows[-1]
        behind = [problem for problem in self.problems if problem.source < last.source]
        part = _State(
            start=Start(last.source, last.index + 1, last.row + 1),
            statistics=Statistics.of(rows),
            problems=behind,
            shards=[name],
        )
        number = self._done.parts + self._open
        # The note first: where there is a part, there is its note.
        self._write_json(self._note(number), part.model_dump(mode="json"))
        with self._part(number).writing(self._partial) as partial:
            self._form.write(partial, rows)
        self._add(part)

    def _add(self, part: _State) -> None:
        """Count a part that is there."""
        (name,) = part.shards
        if name not in self._done.shards[-1:]:
            self._done.shards.append(name)
        self._done.start = part.start
        self._done.statistics += part.statistics
        self._open += 1

    def _join(self) -> None:
        """Make a file of the output from its parts."""
        numbers = range(self._done.parts, self._done.parts + self._open)
        shard = self.output.shard(self._done.shards[-1])
        if self.output.is_folder:
            shard.parent.make_folder()
        with shard.writing(self._partial) as partial:
            self._form.join(partial, [self._part(number) for number in numbers])
        self._done.parts, self._open = numbers.stop, 0
        behind = [problem for problem in self.problems if problem.source < self.start.source]
        state = self._done.model_copy(update={"problems": behind})
        self._write_json(self.folder / _STATE, state.model_dump(mode="json"))
        self._remove_joined()

    def _take_up(self) -> None:
        """Read how far an earlier run came, or write what this one is."""
        recorded = self.folder / _MANIFEST
        # A run may have died before it wrote its manifest; then it wrote no part either.
        if not recorded.exists():
            self._write_json(recorded, self._settings)
            return
        differing = differences(json.loads(recorded.read()), self._settings)
        if differing:
            raise ResumeError(
                f"{self.folder.name} was begun with other settings: {'; '.join(differing)}. "
                "Restore them, or start anew with --force"
            )
        if (self.folder / _STATE).exists():
            self._done = _State.model_validate_json((self.folder / _STATE).read())
        # A run may have died after it wrote that state, and before it removed the parts.
        self._remove_joined()
        while self._part(self._done.parts + self._open).exists():
            part = _State.model_validate_json(self._note(self._done.parts + self._open).read())
            self._done.problems = part.problems
            self._add(part)

    def _start_anew(self) -> None:
        """Remove what runs made, but for a single file: that stays until its successor is whole."""
        for name in self._known_shards() if self.output.is_folder else ():
            with suppress(FileNotFoundError):
                self.output.shard(name).remove()
        if self.output.record.exists():
            self.output.record.remove()
        self._clear()

    def _finished(self) -> bool:
        return (self.output.record if self.output.is_folder else self.output.place).exists()

    def _known_shards(self) -> set[str]:
        """Return the files that runs made of a folder of output, whole or not."""
        known: set[str] = set()
        if self.output.record.exists():
            known.update(json.loads(self.output.record.read())["settings"]["files"])
        for note in self._inside():
            if note == _STATE or note.endswith(".note.json"):
                known.update(_State.model_validate_json((self.folder / note).read()).shards)
        return known

    def _refuse_strangers(self) -> None:
        """Stop before files that no run made, for a run must never delete or replace them."""
        inside = [(self.folder, name) for name in self._inside() if not _OWN_NAME.fullmatch(name)]
        if self.output.is_folder and self.output.place.exists():
            place, known = self.output.place, self._known_shards()
            names = [file.path.removeprefix(place.path.rstrip("/") + "/") for file in place.files()]
            inside += [(place, name) for name in names if name not in known]
        if inside:
            raise ResumeError(
                f"{inside[0][0].name} holds files that no run made ({', '.join(name for _, name in inside[:3])}); "
                "move them, or name another output"
            )

    def _take_lock(self) -> None:
        try:
            if self._lock is not None:
                self._lock.acquire()
        except Timeout as error:
            raise ResumeError(
                f"{self.output.place.name} is being written by another run, which holds {self.folder.name}/{_LOCK}; "
                "wait for its end, or name another output"
            ) from error

    def _inside(self) -> list[str]:
        """Return the names in the folder."""
        return [file.base for file in self.folder.files()] if self.folder.exists() else []

    def _clear(self) -> None:
        """Remove all but the lock."""
        for name in self._inside():
            if name != _LOCK:
                (self.folder / name).remove()

    def _remove_joined(self) -> None:
        for name in self._inside():
            number = name.partition(".")[0]
            if number.isdecimal() and int(number) < self._done.parts:
                (self.folder / name).remove()

    @property
    def _partial(self) -> Path | None:
        """Where a file of this machine is written before it gets its name."""
        return Path(self.folder.path) / _PARTIAL if self.folder.local else None

    def _write_json(self, place: Place, value: Mapping[str, Any]) -> None:
        with place.writing(self._partial) as partial:
            partial.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def _part(self, number: int) -> Place:
        return self.folder / f"{number:06d}{SUFFIXES[self.output.form]}"

    def _note(self, number: int) -> Place:
        return self.folder / f"{number:06d}.note.json"
