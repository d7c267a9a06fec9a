"""What is to be judged: labelled articles as `distillery prepare` would read them, and nothing dropped in silence."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilled_filters.checkpoints import sha256_of
from distilled_filters.spec import LensSpec
from distilled_filters.training.data import DatasetError, read_lenses
from distilled_filters.training.prepare.build import preprocessors
from distilled_filters.training.prepare.labels import judged_lenses, merge_runs
from distilled_filters.training.prepare.rows import (
    ArticleRow,
    LabelRow,
    Rejection,
    Run,
    read_articles,
    read_labels,
)

__all__ = ["Material", "read_material"]

_CARD = "data.json"


@dataclass(frozen=True)
class Material:
    """Rows of a data folder, or of bare files.

    Attributes:
        articles: The file they come from.
        label_files: Those that the labels come from.
        rows: The articles that the filters can read.
        refused: The other rows of that file.
        labels: Good label rows.
        bad_labels: The others.
        runs: The readings of each article in `rows` that has any.
        lenses: What is to be judged.
        card_holds: Whether a data card's digests agree with the files; None where there is no card.
        origins: What that card says of the labels that the folder's rows were merged from: `label_rows`, `oracles`,
            `prompts`; the same of the rows themselves where no card does.
        window: The tokens of an article that a student reads.
    """

    articles: Path
    label_files: Sequence[Path]
    rows: Sequence[ArticleRow]
    refused: Sequence[Rejection]
    labels: Sequence[LabelRow]
    bad_labels: Sequence[Rejection]
    runs: Mapping[str, list[Run]]
    lenses: Sequence[LensSpec]
    card_holds: bool | None
    origins: Mapping[str, Any]
    window: int


def read_material(
    data: Path, labels: Sequence[Path], filters: Path, names: Sequence[str] = (), base: str | None = None
) -> Material:
    """Read a data folder, or an articles file with its labels.

    Args:
        data: A folder with `articles.jsonl` and `labels.jsonl`, or a file of articles.
        labels: Label files; by default `labels.jsonl` beside the articles.
        filters: The `filters/` folder.
        names: Lenses to judge; by default those that the labels speak of.
        base: The encoder whose tokenizer counts tokens; by default the filters' backbone.

    Raises:
        DatasetError: when there is no article, no good label, or no lens of that name.
        FileNotFoundError: naming the file.
    """
    articles = data / "articles.jsonl" if data.is_dir() else data
    label_files = list(labels) or [articles.parent / "labels.jsonl"]
    for path in (articles, *label_files):
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}; give a folder with articles.jsonl and labels.jsonl, "
                                    "or an articles file with --labels")  # fmt: skip
    known = {lens.name: lens for lens in read_lenses(filters)}
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        raise DatasetError(f"no lens {', '.join(unknown)} in {filters}; known are {', '.join(known) or 'none'}")
    label_rows, bad_labels = read_labels(label_files, known, names[0] if len(names) == 1 else None)
    if not label_rows:
        first = f"; the first row: {bad_labels[0].message}" if bad_labels else ""
        raise DatasetError(f"no good label in {', '.join(map(str, label_files))}{first}")
    lenses = [known[name] for name in names or judged_lenses(label_rows, known)]
    readers = preprocessors(lenses, filters, base)
    rows, refused = read_articles([articles], readers, use_splits=True)
    if not rows:
        first = f"; the first row: {refused[0].message}" if refused else "; the file is empty"
        raise DatasetError(f"the filters can read no article of {articles}{first}")
    by_id: dict[str, list[LabelRow]] = defaultdict(list)
    for row in label_rows:
        by_id[row.id].append(row)
    runs = {row.id: merge_runs(by_id[row.id], known) for row in rows if row.id in by_id}
    if not runs:
        raise DatasetError(f"no label of {', '.join(map(str, label_files))} has the id of a readable article")
    return Material(
        articles=articles,
        label_files=label_files,
        rows=rows,
        refused=refused,
        labels=label_rows,
        bad_labels=bad_labels,
        runs=runs,
        lenses=lenses,
        card_holds=(holds := _card_holds(articles.parent, [articles, *label_files])),
        origins=_origins(label_rows, articles.parent if holds else None),
        window=max(reader.settings.head_tokens + reader.settings.tail_tokens for reader in readers),
    )


def _origins(rows: Sequence[LabelRow], folder: Path | None) -> Mapping[str, Any]:
    """Return who made labels: as the card of a folder says, where it does, or as the rows do."""
    if folder is not None:
        card: dict[str, Any] = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        if card.keys() >= {"label_rows", "oracles", "prompts"}:
            return card
    prompts: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.lens and row.prompt_sha256:
            prompts[row.lens].add(row.prompt_sha256)
    oracles = Counter(row.oracle for row in rows if row.oracle)
    return {"label_rows": len(rows), "oracles": dict(oracles.most_common()), "prompts": prompts}


def _card_holds(folder: Path, files: Sequence[Path]) -> bool | None:
    try:
        outputs: dict[str, dict[str, Any]] = json.loads((folder / _CARD).read_text(encoding="utf-8"))["outputs"]
        return all(outputs[path.name]["sha256"] == sha256_of(path) for path in files)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # not a card of `distillery prepare`, or one of other files
        return False
