"""What is measured of labelled articles before anything is trained: plain figures, no judgement."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from distilled_filters.decision import apply_gate, verdict, weighted_average
from distilled_filters.registry import newest_folders
from distilled_filters.spec import LensSpec
from distilled_filters.training.prepare.clusters import declared
from distilled_filters.training.prepare.duplicates import Pair, components, find_copies, normalised
from distilled_filters.training.prepare.labels import in_scope, mean_scores
from distilled_filters.training.prepare.rows import ArticleRow
from distilled_filters.training.readiness.agreement import agreement
from distilled_filters.training.readiness.curve import CurvePoint
from distilled_filters.training.readiness.limits import NEAR
from distilled_filters.training.readiness.material import Material
from distilled_filters.training.readiness.privacy import Privacy
from distilled_filters.training.readiness.redundancy import Redundancy, redundancy
from distilled_filters.training.readiness.releases import Release, release_of

__all__ = ["HELD_OUT", "NATURAL", "Copies", "Facts", "LensFacts", "measure"]

HELD_OUT = ("validation", "test")
NATURAL = "natural"
SYNTHETIC = "synthetic"
_UNSTATED = "unstated"
_UNKNOWN_LANGUAGE = "und"
_NO_SOURCE = {"", "unknown", "none", "nan"}
_HUMANS = {"human", "expert"}
_SHORT = 200
_BINS = 10


@dataclass(frozen=True)
class Copies:
    """Copies among the articles.

    Attributes:
        exact: Articles that equal an earlier one.
        near: Pairs of near copies.
        leaks: Groups of copies that lie in two splits.
        contradictions: Pairs of copies, both labelled, that a lens puts in different tiers.
    """

    exact: int
    near: int
    leaks: int
    contradictions: int


@dataclass(frozen=True)
class LensFacts:
    """What is known of one lens.

    Attributes:
        name: The lens.
        medium: The weighted average from which an article is of the medium tier.
        labelled: Articles with a reading of it.
        in_scope: Those with any dimension above 0.
        tiers: Articles of each tier, best first.
        reaching: Articles of medium and above: in all, held out, and real ones.
        yields: Labelled articles by how they were chosen, and those of medium and above among them.
        histogram: Weighted averages of articles in scope, by bins of one point.
        edges: Articles within one point of the medium boundary, and those that the gate lowered;
            the latter None where there is no gate.
        top_source: The source with most real articles of medium and above, and its share of them.
        redundancy: How far the dimensions say the same; None where too few articles are in scope.
        agreement: How well readings of the same article agree; None where none was read twice.
        prompts: Digests of prompts that labels name, other than the spec's.
        release: What is known of the trained filter, and of its prompt.
    """

    name: str
    medium: float
    labelled: int
    in_scope: int
    tiers: dict[str, int]
    reaching: dict[str, int]
    yields: dict[str, dict[str, int]]
    histogram: list[int]
    edges: dict[str, int | None]
    top_source: tuple[str, float] | None
    redundancy: Redundancy | None
    agreement: dict[str, Any] | None
    prompts: list[str]
    release: Release


@dataclass(frozen=True)
class Facts:
    """What is known of the whole set.

    Attributes:
        articles: Articles that the filters can read.
        labelled: Those with a label.
        refused: Rows that are none, by status or reason.
        bad_labels: Label rows that cannot be used, by reason.
        tokens: The length of each readable article.
        window: Tokens that a student reads of it.
        truncated: The share of articles that are longer, 0-1.
        short: Articles of fewer than 200 characters.
        splits: Labelled articles by split; empty where rows name none.
        strata: Labelled articles by how they were chosen.
        languages: Labelled articles by language.
        wanted: Languages that the filters promise to read.
        sources: Labelled articles by source, most first.
        reviewed: Labelled articles that a person has looked at.
        read_twice: Labelled articles with two readings or more.
        oracles: Label rows by the oracle they name.
        label_rows: All good label rows.
        copies: Copies among the articles.
        privacy: Personal data; None where it was not searched for.
        card_holds: Whether a data card's digests agree with the files; None where there is no card.
        gates: Bounds in the filters' `gates.toml`; None where there is no such file.
        lenses: Each lens.
        curve: Quality against the number of labels, where it was measured.
    """

    articles: int
    labelled: int
    refused: dict[str, int]
    bad_labels: dict[str, int]
    tokens: list[int] = field(repr=False)
    window: int
    truncated: float
    short: int
    splits: dict[str, int]
    strata: dict[str, int]
    languages: dict[str, int]
    wanted: list[str]
    sources: dict[str, int]
    reviewed: int
    read_twice: int
    oracles: dict[str, int]
    label_rows: int
    copies: Copies
    privacy: Privacy | None
    card_holds: bool | None
    gates: bool
    lenses: list[LensFacts]
    curve: list[CurvePoint]

    def document(self) -> dict[str, Any]:
        """Return everything but the list of lengths, for JSON."""
        found = asdict(replace(self, privacy=None)) | {"privacy": self.privacy and self.privacy.document()}
        del found["tokens"]
        return found


def measure(
    material: Material, filters: Path, privacy: Privacy | None, curve: Sequence[CurvePoint], threshold: float = 0.6
) -> Facts:
    """Measure everything that needs no answer from a person.

    Args:
        material: What to measure.
        filters: The `filters/` folder: released filters have figures of their own there.
        privacy: What the search for personal data found.
        curve: The learning curve.
        threshold: The Jaccard similarity, 0-1, from which two articles are near copies.
    """
    rows, runs = material.rows, material.runs
    labelled = [row for row in rows if row.id in runs]
    folders = {folder.parent.name: folder for folder in newest_folders(filters)}
    return Facts(
        articles=len(rows),
        labelled=len(labelled),
        refused=_ranked(str(each.reason) for each in material.refused),
        bad_labels=_ranked(str(each.reason) for each in material.bad_labels),
        tokens=[row.tokens.total for row in rows],
        window=material.window,
        truncated=sum(row.tokens.truncated for row in rows) / len(rows),
        short=sum(len(row.article.title) + len(row.article.content) < _SHORT for row in labelled),
        splits=_ranked(row.split for row in labelled if row.split),
        strata=_ranked(row.stratum or _UNSTATED for row in labelled),
        languages=_ranked(row.language or _UNKNOWN_LANGUAGE for row in labelled),
        wanted=sorted({language for lens in material.lenses for language in lens.languages}),
        sources=_ranked(_source(row) or _UNSTATED for row in labelled),
        reviewed=_reviewed(material, labelled),
        read_twice=sum(len(runs[row.id]) > 1 for row in labelled),
        oracles=dict(material.origins["oracles"]),
        label_rows=material.origins["label_rows"],
        copies=_copies(material, threshold),
        privacy=privacy,
        card_holds=material.card_holds,
        gates=(filters / "gates.toml").is_file(),
        lenses=[_lens(lens, labelled, material, folders[lens.name]) for lens in material.lenses],
        curve=list(curve),
    )


def _lens(lens: LensSpec, labelled: Sequence[ArticleRow], material: Material, folder: Path) -> LensFacts:
    scored = [(row, scores) for row in labelled if (scores := mean_scores(material.runs[row.id], lens)) is not None]
    verdicts = [verdict(scores, lens) for _, scores in scored]
    inside = [in_scope(scores) for _, scores in scored]
    averages = [average for (average, _), each in zip(verdicts, inside, strict=True) if each]
    histogram, _ = np.histogram(averages, bins=_BINS, range=(0, _BINS))
    tiers = Counter(tier for _, tier in verdicts)
    reaching = [row for (row, _), (average, _) in zip(scored, verdicts, strict=True) if average >= lens.medium]
    chosen = Counter(row.stratum or _UNSTATED for row, _ in scored)
    found = Counter(row.stratum or _UNSTATED for row in reaching)
    real = [row for row in reaching if row.stratum != SYNTHETIC]
    sources = Counter(source for row in real if (source := _source(row)))
    return LensFacts(
        name=lens.name,
        medium=lens.medium,
        labelled=len(scored),
        in_scope=sum(inside),
        tiers={tier.name: tiers[tier.name] for tier in lens.tiers},
        reaching={
            "all": len(reaching),
            "held_out": sum(row.split in HELD_OUT for row in reaching),
            "real": len(real),
        },
        yields={name: {"labelled": count, "reaching": found[name]} for name, count in chosen.most_common()},
        histogram=[int(count) for count in histogram],
        edges={
            "near_boundary": sum(abs(average - lens.medium) <= NEAR for average in averages),
            "gated": sum(apply_gate(weighted_average(scores, lens), scores, lens)[1] for _, scores in scored)
            if lens.gate
            else None,
        },
        top_source=next(((name, count / len(real)) for name, count in sources.most_common(1)), None),
        redundancy=redundancy([scores for (_, scores), each in zip(scored, inside, strict=True) if each], lens),
        agreement=agreement(list(material.runs.values()), lens),
        prompts=sorted({*material.origins["prompts"].get(lens.name, ())} - {lens.prompt_sha256}),
        release=release_of(folder, lens),
    )


def _copies(material: Material, threshold: float) -> Copies:
    rows = material.rows
    found = find_copies([normalised(row.article) for row in rows], threshold)
    firsts = components(len(rows), [*found, *declared(rows)])
    splits: dict[int, set[str]] = {}
    for row, first in zip(rows, firsts, strict=True):
        splits.setdefault(first, set()).update([row.split] if row.split else [])
    return Copies(
        exact=sum(pair.exact for pair in found),
        near=sum(not pair.exact for pair in found),
        leaks=sum(len(each) > 1 for each in splits.values()),
        contradictions=sum(_contradict(pair, material) for pair in found),
    )


def _contradict(pair: Pair, material: Material) -> bool:
    one, other = (material.runs.get(material.rows[row].id) for row in (pair.first, pair.second))
    if one is None or other is None:
        return False
    for lens in material.lenses:
        first, second = mean_scores(one, lens), mean_scores(other, lens)
        if first and second and verdict(first, lens)[1] != verdict(second, lens)[1]:
            return True
    return False


def _reviewed(material: Material, labelled: Sequence[ArticleRow]) -> int:
    """Count articles whose own row, or a label of theirs, says that a person has looked."""
    seen = {row.id for row in labelled if _says_reviewed(row.fields)}
    for row in material.labels:
        if (row.oracle or "").lower() in _HUMANS or _says_reviewed(json.loads(row.place.text)):
            seen.add(row.id)
    return len(seen & set(material.runs))


def _says_reviewed(fields: Mapping[str, Any]) -> bool:
    return bool(fields.get("reviewed") or fields.get("reviewer"))


def _source(row: ArticleRow) -> str | None:
    source = str(row.fields.get("source") or "")
    return None if source.lower() in _NO_SOURCE else source


def _ranked(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))
