"""What a labelling folder holds beside raw replies: readings, labels, failures, each a view of the journal.

They are written whole and atomically, so that a kill leaves the last state, and the next run the new one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distilled_filters.errors import SettingError
from distilled_filters.files import write_json, write_text
from distilled_filters.spec import LensSpec
from distilled_filters.training.oracle.calls import is_begun
from distilled_filters.training.oracle.items import Item
from distilled_filters.training.oracle.prompt import Judgement
from distilled_filters.training.oracle.quotes import missing_quotes

__all__ = ["REPORT_FILE", "Folder", "adjudicated_row", "failure_row", "reading_row"]

REPORT_FILE = "label.json"
_READINGS, _FAILED, _ADJUDICATED, _LABELS = "readings.jsonl", "failed.jsonl", "adjudicated.jsonl", "labels.jsonl"

Row = dict[str, Any]
Key = tuple[str, str, int]


def reading_row(item: Item, lens: LensSpec, model: str, run: int, judged: Judgement) -> Row:
    """Return one oracle's reading of one article, in a shape that `distillery prepare` reads."""
    names = lens.dimension_names
    marks = zip(names, judged.scores, judged.quotes, strict=True)
    return {
        "id": item.id, "filter": lens.name, "in_scope": judged.in_scope,
        "dimensions": dict(zip(names, judged.scores, strict=True)),
        "evidence": dict(zip(names, judged.quotes, strict=True)),
        "unverified": [name for name, _ in missing_quotes(marks, item.shown.text)],
        "oracle": model, "run": run, "prompt_sha256": lens.prompt_sha256, "content_sha256": item.shown.sha256,
    }  # fmt: skip


def adjudicated_row(reading: Row, between: Iterable[str]) -> Row:
    """Return a third oracle's reading as the label that takes the place of those it was asked about."""
    return {**reading, "adjudicates": list(between)}


def failure_row(id_: str | None, model: str | None, run: int | None, reason: str, message: str) -> Row:
    """Return why there is no reading."""
    return {"id": id_, "oracle": model, "run": run, "reason": reason, "message": message}


@dataclass
class Folder:
    """The readings of one lens under one prompt; `open` takes up what a folder holds."""

    path: Path
    readings: dict[Key, Row] = field(default_factory=dict)
    failed: dict[Key, Row] = field(default_factory=dict)
    adjudicated: dict[str, Row] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, lens: LensSpec) -> Folder:
        """Take up a folder, or make it.

        Raises:
            SettingError: when it holds labels of another filter or prompt, or another kind of file.
        """
        cls.check(path, lens)
        if not ((path / REPORT_FILE).is_file() and _is_begun(path)):
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / REPORT_FILE, _identity(lens))
        return cls(
            path,
            {_key(row): row for row in _rows(path / _READINGS)},
            {_key(row): row for row in _rows(path / _FAILED) if row["oracle"]},
            {row["id"]: row for row in _rows(path / _ADJUDICATED)},
        )

    @staticmethod
    def check(path: Path, lens: LensSpec) -> None:
        """Look whether a folder can be taken up, and leave it as it is.

        Raises:
            SettingError: when it holds labels of another filter or prompt, or another kind of file.
        """
        report = path / REPORT_FILE
        # After an estimate that nobody agreed to, the prompt may have been sharpened.
        if report.is_file() and _is_begun(path):
            (earlier,) = _rows(report, whole=True)
            for key, now in _identity(lens).items():
                if earlier.get(key) != now:
                    raise SettingError(
                        f"{path} holds labels of another {key}: {earlier.get(key)}, now {now}. "
                        "Choose another --output: readings under two prompts are no readings of one lens"
                    )
        elif not report.is_file() and (path / _LABELS).exists():
            raise SettingError(f"{path} has a {_LABELS} that `distillery label` did not write; choose another --output")

    def forget_changed(self, items: Iterable[Item]) -> None:
        """Leave out readings of articles whose text is another by now, and failures of articles that are gone.

        Readings of other sources were paid for and stay; a failure is only of interest with its article.
        """
        now = {item.id: item.shown.sha256 for item in items}

        def holds(row: Row) -> bool:
            return bool(now.get(row["id"], row["content_sha256"]) == row["content_sha256"])

        self.readings = {key: row for key, row in self.readings.items() if holds(row)}
        self.adjudicated = {id_: row for id_, row in self.adjudicated.items() if holds(row)}
        self.failed = {key: row for key, row in self.failed.items() if row["id"] in now}

    def put(self, row: Row) -> None:
        """Take a reading or a failure in the place of what stood there."""
        key = _key(row)
        into, out_of = (self.failed, self.readings) if "reason" in row else (self.readings, self.failed)
        into[key] = row
        out_of.pop(key, None)

    def labels(self) -> list[Row]:
        """Return what to train on: every reading, or the adjudication of an article that has one."""
        kept = [row for row in self.readings.values() if row["id"] not in self.adjudicated]
        return [*kept, *self.adjudicated.values()]

    def write(self, order: Mapping[str, int], refused: Iterable[Row], report: Mapping[str, Any]) -> None:
        """Write all files; rows stand in the order of the source, then by oracle and run."""

        def place(row: Row) -> tuple[int, str, str, int]:
            return order.get(row["id"], len(order)), row["id"], row["oracle"], row["run"]

        files = {
            _READINGS: sorted(self.readings.values(), key=place),
            _ADJUDICATED: sorted(self.adjudicated.values(), key=place),
            _FAILED: [*refused, *sorted(self.failed.values(), key=place)],
            _LABELS: sorted(self.labels(), key=place),
        }
        for name, rows in files.items():
            write_text(self.path / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        write_json(self.path / REPORT_FILE, report)


def _is_begun(path: Path) -> bool:
    return is_begun(path / "raw") or any(_rows(path / _READINGS))


def _identity(lens: LensSpec) -> dict[str, str]:
    return {"filter": lens.name, "prompt_sha256": lens.prompt_sha256}


def _key(row: Row) -> Key:
    return row["id"], row["oracle"], row["run"]


def _rows(path: Path, *, whole: bool = False) -> Iterator[Row]:
    """Yield the rows of a view, or the whole file as one.

    Raises:
        SettingError: when somebody has damaged it.
    """
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        try:
            for text in [file.read()] if whole else file:
                row = json.loads(text)
                if not isinstance(row, dict):
                    raise ValueError(f"{type(row).__name__} in the place of an object")
                yield row
        except ValueError as error:
            raise SettingError(
                f"{path} is damaged: {error}. Remove all files of the folder but raw/, which has everything that was "
                "paid for: the same command writes them again"
            ) from None
