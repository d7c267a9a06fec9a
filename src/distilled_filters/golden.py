"""Reference articles and the scores they must get: the guard against silent changes (AC21)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilled_filters.errors import SpecError
from distilled_filters.files import write_text
from distilled_filters.filter import Filter
from distilled_filters.result import Score

__all__ = ["TOLERANCE", "Deviation", "check_golden", "expectation", "read_golden", "record_golden"]

# A change of more than this on the 0-10 scale is a changed score, whatever its cause.
TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Deviation:
    """One golden article whose score is not the recorded one."""

    article: str
    field: str
    expected: object
    found: object


def read_golden(folder: Path) -> list[dict[str, Any]]:
    """Read a filter folder's `golden.jsonl`: articles with what is `expected` of them.

    Raises:
        SpecError: when there are none, or naming the line that is not such an article.
    """
    path = folder / "golden.jsonl"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(
            f"{path}: there is no such file; write golden articles there, one a language, as JSON lines with "
            "id, language, title and content, then run `distillery golden`"
        ) from None
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            row = json.loads(line)
            rows.append({"id": row["id"], "language": row["language"], "title": row["title"], "content": row["content"],
                         "expected": row.get("expected")})  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise SpecError(f"{path}:{number}: not a golden article: {error!r}") from error
    return rows


def expectation(score: Score) -> dict[str, Any]:
    """Return what a golden row records of a score."""
    recorded = score.to_dict()
    return {key: recorded[key] for key in ("status", "tier", "weighted_average", "dimensions")}


def check_golden(each: Filter) -> list[Deviation]:
    """Score the filter's golden articles and return what differs by more than `TOLERANCE`.

    Raises:
        SpecError: when a golden article has no recorded score yet.
    """
    deviations = []
    for row in read_golden(each.folder):
        expected = row["expected"]
        if expected is None:
            raise SpecError(f"{each.folder}/golden.jsonl: {row['id']} has no expected score; run `distillery golden`")
        found = expectation(each.score(row))
        for field in ("status", "tier"):
            if found[field] != expected[field]:
                deviations.append(Deviation(row["id"], field, expected[field], found[field]))
        before, now = (
            {"weighted_average": each["weighted_average"], **(each["dimensions"] or {})} for each in (expected, found)
        )
        for field in before | now:
            if _differs(before.get(field), now.get(field)):
                deviations.append(Deviation(row["id"], field, before.get(field), now.get(field)))
    return deviations


def _differs(before: float | None, now: float | None) -> bool:
    if before is None or now is None:
        return before is not now
    return not abs(now - before) <= TOLERANCE


def record_golden(each: Filter) -> list[Deviation]:
    """Write the filter's present scores into its `golden.jsonl`; return what that changed.

    A change calls for a new filter version and a line under "Changed scores" in
    `filters/CHANGELOG.md`.
    """
    rows = read_golden(each.folder)
    changed = check_golden(each) if all(row["expected"] for row in rows) else []
    for row in rows:
        row["expected"] = expectation(each.score(row))
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    write_text(each.folder / "golden.jsonl", "\n".join(lines) + "\n")
    return changed
