"""Keeping what people say of scores: JSON lines in one file a day, each line whole or not at all."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from distilled_filters.service.schema import Feedback, FeedbackReceipt

__all__ = ["FeedbackStore", "FolderFullError"]


class FolderFullError(Exception):
    """The folder holds as many bytes as it may."""


class FeedbackStore:
    """Appends to `folder/feedback-YYYY-MM-DD.jsonl`, up to `limit` bytes in all such files.

    Threads and processes may share a folder.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        """Look at nothing yet."""
        self.folder, self.limit = folder, limit
        self._lock = FileLock(folder / ".feedback.lock")

    def add(self, feedback: Feedback, version: str | None) -> FeedbackReceipt:
        """Write one line; `version` is the filter's own, for feedback that names none.

        Raises:
            FolderFullError: naming the folder and its limit.
            OSError: when the line cannot be written; none of it then stays.
        """
        now = datetime.now(UTC)
        receipt = FeedbackReceipt(
            received=now.isoformat(timespec="seconds"),
            filter=feedback.filter,
            version=feedback.version or version,
            id=feedback.id,
            tier=feedback.tier,
            comment=feedback.comment,
        )
        line = receipt.model_dump_json().encode() + b"\n"
        with self._lock:
            held = sum(path.stat().st_size for path in self.folder.glob("feedback-*.jsonl"))
            if held + len(line) > self.limit:
                raise FolderFullError(f"{self.folder} holds its {self.limit} bytes of feedback; move files away")
            _append(self.folder / f"feedback-{now:%Y-%m-%d}.jsonl", line)
        return receipt


def _append(path: Path, line: bytes) -> None:
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
            # A machine that lost its power may have left half a line; it must not swallow this one.
            line = line if file.read(1) == b"\n" else b"\n" + line
        try:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise
