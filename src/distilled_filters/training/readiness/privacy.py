"""How much personal data a file of articles holds, and a masked copy of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from distilled_filters.files import write_json_lines
from distilled_filters.training.prepare.rows import read_lines
from distilled_filters.training.readiness.pii import Kind, mask

__all__ = ["Privacy", "search"]

# Where an article's text may stand; other fields are left as they are.
_FIELDS = ("title", "headline", "content", "text", "body")
_UNSTATED = "und"


@dataclass
class Privacy:
    """What was found in a file.

    Attributes:
        articles: Rows that were searched.
        affected: Rows with at least one finding.
        findings: How many there are of each kind.
        languages: Rows with a finding, by language.
        unreadable: Lines that hold no JSON object; they are not in a masked copy.
        masked: The masked copy, where one was asked for.
    """

    articles: int = 0
    affected: int = 0
    findings: Counter[Kind] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    masked: Path | None = None

    def document(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return vars(self) | {
            "findings": {str(kind): count for kind, count in self.findings.most_common()},
            "languages": {language: count for language, count in self.languages.most_common() if count},
            "masked": self.masked and str(self.masked),
        }


def search(articles: Path, masked: Path | None = None) -> Privacy:
    """Search every row of a file; write a masked copy of it where `masked` is a path."""
    found = Privacy(masked=masked)
    rows = []
    for _, row in tqdm(read_lines(articles), desc="personal data", unit="article", disable=None):
        if not isinstance(row, dict):
            found.unreadable += 1
            continue
        clean = _searched(row, found)
        if masked is not None:
            rows.append(clean)
    if masked is not None:
        masked.parent.mkdir(parents=True, exist_ok=True)
        write_json_lines(masked, rows)
    return found


def _searched(row: dict[str, Any], found: Privacy) -> dict[str, Any]:
    """Count what a row holds, and return it masked."""
    language = row.get("language")
    language = language if isinstance(language, str) and language else None
    texts = {key: mask(row[key], language) for key in _FIELDS if isinstance(row.get(key), str)}
    counts = sum((each for _, each in texts.values()), Counter[Kind]())
    found.articles += 1
    found.affected += bool(counts)
    found.findings += counts
    found.languages[language or _UNSTATED] += bool(counts)
    return row | {key: text for key, (text, _) in texts.items()}
