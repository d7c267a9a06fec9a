"""The data card: what is in a dataset, for programs (`data.json`) and for people (`DATA.md`)."""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

import distilled_filters
from distilled_filters.decision import verdict
from distilled_filters.result import TokenUse
from distilled_filters.spec import LensSpec
from distilled_filters.training.prepare.labels import in_scope, mean_scores, self_agreement
from distilled_filters.training.prepare.mix import Mixed
from distilled_filters.training.prepare.rows import LabelRow, Rejection, Run

__all__ = ["SPLITS", "Dataset", "describe", "render"]

SPLITS = ("train", "validation", "test")
_LIBRARIES = ("datasketch", "ftfy", "numpy", "resiliparse", "scipy", "tokenizers")
_BINS = 10
_HELD_OUT_TOLERANCE = 0.05


@dataclass(frozen=True)
class Dataset:
    """What is about to be written, and what is known about it.

    Attributes:
        labelled: The rows of `articles.jsonl`.
        unlabelled: The rows of `unlabelled.jsonl`.
        runs: The readings of each labelled article.
        tokens: The length of each article in tokens.
        rejected: What is left out, and why.
        label_rows: All good label rows, for their oracles and prompts.
        copies: The ids of dropped articles by that of the one kept, for exact and for near copies.
        pairs: Near copies, by id, with their similarity.
        lenses: The lenses that every article is labelled for.
        all_lenses: How many lenses the folder of filters has.
        mix: What holds the ratio of real and synthetic articles in training, where that was asked for.
        left_out: The training rows that are left out for it.
    """

    labelled: Sequence[Mapping[str, Any]]
    unlabelled: Sequence[Mapping[str, Any]]
    runs: Mapping[str, Sequence[Run]]
    tokens: Mapping[str, TokenUse]
    rejected: Sequence[Rejection]
    label_rows: Sequence[LabelRow]
    copies: Mapping[str, Mapping[str, Sequence[str]]]
    pairs: Sequence[tuple[str, str, float | None]]
    lenses: Sequence[LensSpec]
    all_lenses: int
    mix: Mixed | None = None
    left_out: Sequence[Mapping[str, Any]] = ()


def describe(dataset: Dataset, held_out: float, seed: int, threshold: float) -> dict[str, Any]:
    """Return every figure of the card; the same dataset gives the same figures."""
    by_split = {split: [row for row in dataset.labelled if row["split"] == split] for split in SPLITS}
    figures = {
        "settings": {"held_out": held_out, "seed": seed, "near_duplicate_threshold": threshold},
        "versions": {
            "distilled-filters": distilled_filters.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
        "splits": {split: _split(rows, dataset.tokens) for split, rows in by_split.items()},
        "unlabelled": _split(dataset.unlabelled, dataset.tokens),
        "lenses": {lens.name: _lens(lens, by_split, dataset.runs) for lens in dataset.lenses},
        "label_rows": len(dataset.label_rows),
        "prompts": _prompts(dataset),
        "oracles": dict(sorted(Counter(row.oracle for row in dataset.label_rows if row.oracle).items())),
        "readings": dict(sorted(Counter(len(runs) for runs in dataset.runs.values()).items())),
        "rejected": _rejected(dataset.rejected),
        "mix": dataset.mix and dataset.mix.as_dict(),
        "duplicates": {
            **dataset.copies,
            "near_pairs": [[one, other, round(similarity or 0, 4)] for one, other, similarity in dataset.pairs],
            "clusters_of_several": _several(dataset.labelled),
        },
    }
    return {**figures, "warnings": list(_warnings(figures, dataset, held_out))}


def render(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    splits = card["splits"]
    total = sum(part["articles"] for part in splits.values())
    parts = [
        f"# Data card\n\n{total:,} labelled articles, {card['unlabelled']['articles']:,} unlabelled, "
        f"{sum(card['rejected'].values()):,} rows rejected. Made by\n\n```bash\n{card['command']}\n```",
        *(
            ["## Look at these first\n\n" + "\n".join(f"- {text}" for text in card["warnings"])]
            if card["warnings"]
            else []
        ),
        "## Splits\n\nCopies of one article share a cluster, and a cluster lies in one split.\n\n"
        + _table(
            ("", *SPLITS, "unlabelled"),
            [
                *(
                    (label, *(f"{part[key]:,}" for part in (*splits.values(), card["unlabelled"])))
                    for key, label in (("articles", "articles"), ("clusters", "clusters"), ("synthetic", "synthetic"))
                ),
                *_counted("language", "languages", splits, card["unlabelled"]),
                *_counted("stratum", "strata", splits, card["unlabelled"]),
            ],
        ),
        *([_mix(card["mix"])] if card["mix"] else []),
        "## Length\n\nOf title and body after cleaning in tokens, as delivered in characters.\n\n"
        + _table(
            ("", "tokens: median", "95%", "longest", "longer than the window", "characters: median", "95%", "longest"),
            [_lengths_row(split, splits[split]["length"]) for split in SPLITS if splits[split]["articles"]],
        ),
        "## Lenses\n\nArticles as train / validation / test; tiers are of the weighted average after the gate, "
        "each with those above it (+).\n\n" + _table(*_lens_counts(card["lenses"])),
        "## Weighted averages of articles in scope\n\n"
        + _table(
            ("lens", *(f"{low}-{low + 1}" for low in range(_BINS))),
            [(name, *map(str, lens["histogram"])) for name, lens in card["lenses"].items()],
        ),
        _agreement(card),
        _duplicates(card["duplicates"]),
        "## Rejected rows\n\n"
        + (
            _table(("row: reason", "rows"), [(f"{key}", f"{count:,}") for key, count in card["rejected"].items()])
            + "\n\n`rejected.jsonl` has every one of them, with file, line and what to do."
            if card["rejected"]
            else "None."
        ),
        "## Where it comes from\n\n"
        + _table(
            ("file", "rows", "SHA-256"),
            [
                *((f"input `{each['file']}`", "", f"`{each['sha256']}`") for each in card["inputs"]),
                *((f"`{name}`", f"{each['rows']:,}", f"`{each['sha256']}`") for name, each in card["outputs"].items()),
            ],
        )
        + "\n\n"
        + ", ".join(f"{name} {number}" for name, number in card["versions"].items())
        + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _split(rows: Sequence[Mapping[str, Any]], tokens: Mapping[str, TokenUse]) -> dict[str, Any]:
    return {
        "articles": len(rows),
        "clusters": len({row["cluster"] for row in rows}),
        "synthetic": sum(row["synthetic"] for row in rows),
        "languages": _ranked(row["language"] for row in rows),
        "strata": _ranked(row["stratum"] for row in rows),
        "length": {
            "tokens": _quantiles([tokens[row["id"]].total for row in rows]),
            "truncated": round(float(np.mean([tokens[row["id"]].truncated for row in rows])), 4) if rows else 0.0,
            "characters": _quantiles([len(row["title"]) + len(row["content"]) for row in rows]),
        },
    }


def _lens(
    lens: LensSpec, by_split: Mapping[str, Sequence[Mapping[str, Any]]], runs: Mapping[str, Sequence[Run]]
) -> dict[str, Any]:
    counts: dict[str, dict[str, int]] = {}
    averages, dimensions = [], []
    for split, rows in by_split.items():
        scores = [mean for row in rows if (mean := mean_scores(runs[row["id"]], lens)) and in_scope(mean)]
        reached = [verdict(each, lens)[0] for each in scores]
        counts[split] = {
            "in_scope": len(scores),
            **{tier.name: sum(average >= tier.at_least for average in reached) for tier in lens.tiers[-2::-1]},
        }
        averages += reached
        dimensions += scores
    columns = np.array(dimensions).reshape(-1, len(lens.dimensions)).T
    return {
        "splits": counts,
        "histogram": _histogram(averages),
        "dimensions": {
            name: {"mean": round(float(column.mean()), 3) if len(column) else None, "histogram": _histogram(column)}
            for name, column in zip(lens.dimension_names, columns, strict=True)
        },
        "self_agreement": self_agreement(list(runs.values()), lens),
    }


def _mix(mix: Mapping[str, Any]) -> str:
    return (
        f"## Mix\n\nIn training {mix['real']:,} real and {mix['synthetic']:,} synthetic articles, asked for were "
        f"{mix['asked']}; {mix['left_out']:,} left out, which stand in `left_out.jsonl`."
    )


def _warnings(figures: Mapping[str, Any], dataset: Dataset, held_out: float) -> Iterable[str]:
    sizes = {split: part["articles"] for split, part in figures["splits"].items()}
    total = sum(sizes.values())
    share = 1 - sizes["train"] / total
    if abs(share - held_out) > _HELD_OUT_TOLERANCE:
        yield f"{share:.0%} of the articles are held out, not {held_out:.0%}"
    for lens in dataset.lenses:
        for split in SPLITS:
            counts = figures["lenses"][lens.name]["splits"][split]
            without = [level for level, count in counts.items() if count == 0]
            if without:
                yield f"{lens.name}: no article of {split} is {' or '.join(_above(level) for level in without)}"
    if len(dataset.lenses) < dataset.all_lenses:
        names = ", ".join(lens.name for lens in dataset.lenses)
        yield f"only {names} is labelled; train with a --filters folder that holds nothing else"
    prompts = _prompts(dataset)
    for lens in dataset.lenses:
        others = [digest for digest in prompts.get(lens.name, ()) if digest != lens.prompt_sha256]
        if others:
            shown = ", ".join(digest[:12] for digest in others)
            yield f"{lens.name}: labels come from prompt {shown}, the spec names {lens.prompt_sha256[:12]}"


def _prompts(dataset: Dataset) -> dict[str, list[str]]:
    """Return the digests of the prompts that the labels of each lens name."""
    prompts: dict[str, set[str]] = defaultdict(set)
    for row in dataset.label_rows:
        if row.lens and row.prompt_sha256:
            prompts[row.lens].add(row.prompt_sha256)
    return {name: sorted(digests) for name, digests in sorted(prompts.items())}


def _rejected(rejected: Sequence[Rejection]) -> dict[str, int]:
    return dict(sorted(Counter(f"{each.kind}: {each.reason}" for each in rejected).items()))


def _several(rows: Sequence[Mapping[str, Any]]) -> int:
    return sum(count > 1 for count in Counter(row["cluster"] for row in rows).values())


def _ranked(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _quantiles(values: Sequence[int]) -> dict[str, int]:
    if not values:
        return {}
    median, high = np.quantile(values, (0.5, 0.95))
    return {"median": round(float(median)), "p95": round(float(high)), "max": max(values)}


def _histogram(values: Any) -> list[int]:
    counts, _ = np.histogram(values, bins=_BINS, range=(0, 10))
    return [int(count) for count in counts]


def _above(level: str) -> str:
    return "in scope" if level == "in_scope" else f"{level}+"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _counted(label: str, key: str, splits: Mapping[str, Any], pool: Mapping[str, Any]) -> list[tuple[str, ...]]:
    parts = [*splits.values(), pool]
    values = _ranked(value for part in splits.values() for value, count in part[key].items() for _ in range(count))
    names = [*values, *(name for name in pool[key] if name not in values)]
    return [(f"{label} {name}", *(f"{part[key].get(name, 0):,}" for part in parts)) for name in names]


def _lengths_row(split: str, length: Mapping[str, Any]) -> tuple[str, ...]:
    tokens, characters = (
        [f"{part[key]:,}" for key in ("median", "p95", "max")] for part in (length["tokens"], length["characters"])
    )
    return split, *tokens, f"{length['truncated']:.0%}", *characters


def _lens_counts(lenses: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    levels = list(dict.fromkeys(level for lens in lenses.values() for level in lens["splits"]["train"]))
    rows = [
        (name, *(" / ".join(str(lens["splits"][split].get(level, "-")) for split in SPLITS) for level in levels))
        for name, lens in lenses.items()
    ]
    return ("lens", *map(_above, levels)), rows


def _agreement(card: Mapping[str, Any]) -> str:
    readings = ", ".join(f"{count:,} read {number} times" for number, count in card["readings"].items())
    text = f"## How well the oracle agrees with itself\n\nArticles: {readings.replace('read 1 times', 'read once')}."
    rows = [
        (
            name,
            str(found["articles"]),
            f"{found['average_mae']:.3f}",
            f"{found['tier_agreement']:.3f}",
            f"{found['scope_agreement']:.3f}",
        )
        for name, lens in card["lenses"].items()
        if (found := lens["self_agreement"])
    ]
    if not rows:
        return f"{text} Label some articles twice to know the best that a student can reach."
    return f"{text}\n\n" + _table(
        ("lens", "articles read more than once", "weighted-average MAE", "tier agreement", "scope agreement"), rows
    )


def _duplicates(found: Mapping[str, Any]) -> str:
    exact, near = (sum(map(len, found[key].values())) for key in ("exact", "dropped_near"))
    return (
        f"## Duplicates\n\n{exact:,} exact copies were merged into the article they copy, "
        f"{near:,} near copies were dropped. {len(found['near_pairs']):,} pairs are near copies; "
        f"{found['clusters_of_several']:,} clusters hold more than one labelled article. `data.json` names them."
    )
