"""The journal of calls: what was sent, what came back, what it cost, so that no call is ever paid twice.

One line an event, written before anything is counted. An attempt is written down before it
is sent; one that has no ending, after a kill or a time-out, is *in doubt*: it may have been paid.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from distilled_filters.errors import SettingError
from distilled_filters.training.oracle.providers import Usage

__all__ = ["Calls", "Spending", "is_begun"]

_DAY = 24 * 3600.0


@dataclass
class Spending:
    """What the calls to one model, or to all, used and cost in US dollars."""

    calls: int = 0
    """Answered and billed."""
    errors: int = 0
    """Answered with an error, or not sent for want of a connection; no provider bills that."""
    usage: Usage = field(default_factory=Usage)
    usd: float = 0.0
    in_doubt: int = 0
    """Sent, ending unknown: killed or timed out. Where the provider honours idempotency keys, none of them is billed
    beside the call that took its place."""
    in_doubt_usd: float = 0.0
    """The most that these can have cost."""

    def __add__(self, other: Spending) -> Spending:
        return Spending(
            self.calls + other.calls, self.errors + other.errors, self.usage + other.usage,
            self.usd + other.usd, self.in_doubt + other.in_doubt, self.in_doubt_usd + other.in_doubt_usd,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "calls": self.calls, "errors": self.errors, "tokens": asdict(self.usage), "usd": round(self.usd, 6),
            "in_doubt": {"calls": self.in_doubt, "usd_at_most": round(max(self.in_doubt_usd, 0.0), 6)},
        }  # fmt: skip


def is_begun(folder: Path) -> bool:
    """Tell whether anything was asked into a journal's folder, one by one or by batches."""
    return any(path.stat().st_size for path in folder.glob("*.json*"))


class Calls:
    """An append-only journal in a folder, which one process at a time may hold.

    ```python
    with Calls(Path("labelled/raw")) as calls:
        oracle = Oracle(endpoint, calls)
    ```
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; entering the context opens `calls.jsonl` in it."""
        self.path = folder / "calls.jsonl"
        self.reserved_usd = 0.0
        """The most that batches under way can cost, which stand in no line of the journal yet."""
        self._lock = FileLock(folder / ".lock")
        self._file: FileIO | None = None
        self._end = 0
        self._places: dict[str, tuple[int, int]] = {}
        self._open: dict[tuple[str, int], tuple[str, float]] = {}
        self._attempts: dict[str, int] = {}
        self._spending: dict[str, Spending] = {}
        self._sent_at: dict[str, list[float]] = {}

    def __enter__(self) -> Self:
        """Lock the folder, mend a torn last line, and read what has been asked so far.

        Raises:
            SettingError: when another process holds the folder.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise SettingError(
                f"another command is asking into {self.path.parent}; wait for it, or choose another folder"
            ) from None
        try:
            self._file = FileIO(self.path, "a+")
            self._replay()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lock.release()

    def __contains__(self, call: object) -> bool:
        return call in self._places

    def reply(self, call: str) -> dict[str, Any] | None:
        """Return the stored event of a call's reply: `response`, `usage`, `usd`; None where there is none."""
        if call not in self._places:
            return None
        offset, length = self._places[call]
        self._opened.seek(offset)
        event: dict[str, Any] = json.loads(self._opened.read(length) or b"")
        return event

    def send(self, call: str, model: str, usd_at_most: float, note: Mapping[str, Any] | None = None) -> int:
        """Write down that a call is about to be sent; returns the number of this attempt."""
        attempt = self._attempts.get(call, 0) + 1
        event = {"event": "sent", "call": call, "attempt": attempt, "at": time.time(), "model": model}
        self._append({**event, "usd_at_most": usd_at_most, **({"note": dict(note)} if note else {})})
        return attempt

    def receive(self, call: str, attempt: int, response: Mapping[str, Any], usage: Usage, usd: float) -> None:
        """Write down a reply; from here on the call is never sent again."""
        event = {"event": "reply", "call": call, "attempt": attempt, "at": time.time()}
        self._append({**event, "usage": asdict(usage), "usd": usd, "response": dict(response)})

    def fail(self, call: str, attempt: int, status: int | None, message: str) -> None:
        """Write down that the provider answered with an error, or was not reached, and so billed nothing."""
        event = {"event": "error", "call": call, "attempt": attempt, "at": time.time()}
        self._append({**event, "status": status, "message": message})

    def spending(self, model: str | None = None) -> Spending:
        """Return what was spent on one model, or on all, over every run in this folder."""
        names = self._spending if model is None else [model]
        return sum((self._spending.get(name, Spending()) for name in names), Spending())

    @property
    def models(self) -> list[str]:
        """The models that were asked, by name."""
        return sorted(self._spending)

    def last_day(self, model: str) -> list[float]:
        """Return when calls to a model were sent in the last 24 hours, in seconds since the epoch, oldest first."""
        recent = [at for at in self._sent_at.get(model, ()) if at > time.time() - _DAY]
        self._sent_at[model] = recent
        return recent

    def _append(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        file = self._opened
        written = file.write(line)
        if written != len(line):
            # What is missing would make this line part of the next one.
            file.truncate(self._end)
            raise OSError(f"{self.path}: the disk took {written} of {len(line)} bytes; make room and run again")
        if event["event"] == "reply":
            # What was paid for must outlive a power cut too; a kill alone takes nothing that was written.
            os.fsync(file.fileno())
        self._note(event, self._end, len(line))
        self._end += len(line)

    @property
    def _opened(self) -> FileIO:
        if self._file is None:
            raise ValueError(f"{self.path} is not open; use `with Calls(folder) as calls`")
        return self._file

    def _replay(self) -> None:
        end = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    self._note(json.loads(line), end, len(line))
                except (ValueError, KeyError, TypeError):
                    # A reply whose question is missing is no record either.
                    raise SettingError(
                        f"{self.path} is damaged at byte {end}; it is the record of what was paid. "
                        "Restore it, or remove that line if its reply may be asked for again"
                    ) from None
                end += len(line)
        # A kill in the middle of a write leaves a line without an end; its attempt stays in doubt.
        self._opened.truncate(end)
        self._end = end

    def _note(self, event: dict[str, Any], offset: int, length: int) -> None:
        call, attempt = event["call"], event["attempt"]
        if event["event"] == "sent":
            model, usd = event["model"], event["usd_at_most"]
            self._attempts[call] = attempt
            self._open[call, attempt] = (model, usd)
            self._sent_at.setdefault(model, []).append(event["at"])
            self._spending[model] = self.spending(model) + Spending(in_doubt=1, in_doubt_usd=usd)
            return
        model, usd = self._open.pop((call, attempt))
        ended = Spending(in_doubt=-1, in_doubt_usd=-usd)
        if event["event"] == "reply":
            self._places[call] = (offset, length)
            ended += Spending(calls=1, usage=Usage(**event["usage"]), usd=event["usd"])
        else:
            ended += Spending(errors=1)
        self._spending[model] = self.spending(model) + ended
