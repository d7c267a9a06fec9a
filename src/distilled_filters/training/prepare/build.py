"""From labelled articles to a data folder that `train`, `calibrate` and `evaluate` read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tqdm import tqdm

from distilled_filters.checkpoints import sha256_of
from distilled_filters.decision import verdict
from distilled_filters.errors import SpecError
from distilled_filters.files import write_json, write_json_lines, write_text
from distilled_filters.preprocess import Preprocessor
from distilled_filters.registry import newest_folders
from distilled_filters.spec import LensSpec, read_filter_spec
from distilled_filters.training.data import DatasetError, read_lenses
from distilled_filters.training.prepare.card import Dataset, describe, render
from distilled_filters.training.prepare.clusters import (
    declared,
    one_of_each,
    refuse_leaks,
    without_bridges,
    without_held_out_copies,
)
from distilled_filters.training.prepare.duplicates import NEAR_COPY, components, find_copies, normalised
from distilled_filters.training.prepare.labels import (
    in_scope,
    judged_lenses,
    mean_scores,
    merge_runs,
    without_replaced,
)
from distilled_filters.training.prepare.mix import Mix, hold_mix
from distilled_filters.training.prepare.rows import (
    ArticleRow,
    LabelRow,
    Reason,
    Rejection,
    Run,
    read_articles,
    read_ids,
    read_labels,
)
from distilled_filters.training.prepare.splits import Unit, assign

__all__ = ["Settings", "prepare", "preprocessors"]

_TRAIN = "train"
_NO_LANGUAGE = "und"
_NO_STRATUM = "unstated"
_SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Settings:
    """What decides a dataset beside its rows.

    Attributes:
        held_out: The share of clusters that validation and test hold together, 0-1.
        seed: Of the splits.
        threshold: The Jaccard similarity, 0-1, from which two articles are near copies.
        drop_near: Keep one article of each group of near copies; all of them otherwise, in one split.
        keep_splits: Leave articles in the split they name; those that name none are for training.
        replace: Label files whose rows take the place of all others of their articles and lenses.
        drop: Files of rows with the ids of articles to leave out.
        train_only: Strata that are never held out, such as those a student chose.
        mix: The shares of real and synthetic articles in training; None takes all there are.
        lens: The lens of label rows that name no `filter`.
        base: The encoder whose tokenizer counts tokens, a Hub id or a folder; None for the
            backbone of the filters.
    """

    held_out: float = 0.2
    seed: int = 20
    threshold: float = NEAR_COPY
    drop_near: bool = False
    keep_splits: bool = False
    replace: tuple[Path, ...] = ()
    drop: tuple[Path, ...] = ()
    train_only: tuple[str, ...] = ()
    mix: Mix | None = None
    lens: str | None = None
    base: str | None = None


def prepare(
    articles: Sequence[Path], labels: Sequence[Path], output: Path, filters: Path, settings: Settings, command: str
) -> dict[str, Any]:
    """Write `articles`, `labels`, `unlabelled` and `rejected.jsonl`, `data.json` and `DATA.md`; return the card.

    The same inputs and settings give the same bytes.

    Raises:
        SplitLeakError: with `keep_splits`, when copies of one article lie in two splits.
        DatasetError: when no article is labelled, or the output is one of the inputs.
    """
    inputs = [*articles, *labels, *settings.replace, *settings.drop]
    _refuse_overwriting(inputs, output)
    lenses = {lens.name: lens for lens in read_lenses(filters)}
    if not lenses:
        raise DatasetError(f"there is no filter folder in {filters}; say where they are with --filters")
    if settings.lens is not None and settings.lens not in lenses:
        raise DatasetError(f"--filter {settings.lens!r} is none of the lenses in {filters}: {', '.join(lenses)}")
    rows, rejected = read_articles(
        articles, preprocessors(lenses.values(), filters, settings.base), use_splits=settings.keep_splits
    )
    dropped = read_ids(settings.drop)
    rejected += [
        Rejection("article", row.id, Reason.DROPPED, f"{row.place}: --drop leaves it out", row.place)
        for row in rows
        if row.id in dropped
    ]
    rows = [row for row in rows if row.id not in dropped]
    label_rows, bad_labels = read_labels(labels, lenses, settings.lens)
    better, worse = read_labels(settings.replace, lenses, settings.lens)
    label_rows, bad_labels = [*without_replaced(label_rows, better, lenses), *better], bad_labels + worse
    refused = {rejection.id for rejection in rejected}
    rejected += bad_labels
    judged = judged_lenses(label_rows, lenses)
    runs = _runs_by_id(label_rows, {row.id for row in rows}, refused, lenses, judged, rejected)

    copies = find_copies(
        [normalised(row.article) for row in tqdm(rows, desc="texts", unit="article", disable=None)], settings.threshold
    )
    joined = [*copies, *declared(rows)]
    if settings.keep_splits:
        joined = without_bridges(rows, joined)
        refuse_leaks(rows, joined)
    firsts = components(len(rows), joined)
    clusters = [rows[first].cluster or rows[first].id for first in firsts]
    fixed: dict[str, str] = {}
    if settings.keep_splits:
        fixed = {cluster: row.split for cluster, row in zip(clusters, rows, strict=True) if row.split}
        if not fixed:
            raise DatasetError("--keep-splits, but no article has a split; leave the option away to make splits")
    kept = without_held_out_copies(rows, clusters, fixed, runs, rejected)
    kept, exact = one_of_each(kept, rows, [pair for pair in copies if pair.exact], runs)
    for keeper, others in exact.items():
        runs[keeper] = [run for id_ in (keeper, *others) for run in runs.pop(id_, ())]
        if not runs[keeper]:
            del runs[keeper]
    near: dict[str, list[str]] = {}
    if settings.drop_near:
        kept, near = one_of_each(kept, rows, copies, runs)
        for id_ in (id_ for others in near.values() for id_ in others):
            runs.pop(id_, None)
    labelled = [row for row in kept if rows[row].id in runs]
    if not labelled:
        raise DatasetError(
            f"none of {len(rows):,} readable articles has a good label ({len(rejected):,} rows rejected, the first: "
            f"{rejected[0].message if rejected else 'none'}); do the ids of articles and labels agree?"
        )
    if settings.keep_splits:
        splits = {clusters[row]: fixed.get(clusters[row], _TRAIN) for row in labelled}
    else:
        units = _units(labelled, rows, clusters, runs, [lenses[name] for name in judged], settings.train_only)
        splits = assign(units, settings.held_out, settings.seed)

    mixed, left_out = None, []
    if settings.mix is not None:
        training = [row for row in labelled if splits[clusters[row]] == _TRAIN]
        mixed = hold_mix(
            settings.mix, {rows[row].id: rows[row].stratum == _SYNTHETIC for row in training}, settings.seed
        )
        out = set(mixed.left_out)
        left_out = [row for row in labelled if rows[row].id in out]
        labelled = [row for row in labelled if rows[row].id not in out]
        kept = [row for row in kept if rows[row].id not in out]

    dataset = Dataset(
        labelled=[_output_row(rows[row], clusters[row], splits[clusters[row]]) for row in labelled],
        unlabelled=[
            _output_row(rows[row], clusters[row], splits.get(clusters[row])) for row in kept if rows[row].id not in runs
        ],
        runs={rows[row].id: runs[rows[row].id] for row in labelled},
        tokens={rows[row].id: rows[row].tokens for row in kept},
        rejected=rejected,
        label_rows=label_rows,
        copies={"exact": exact, "dropped_near": near},
        pairs=[(rows[pair.first].id, rows[pair.second].id, pair.similarity) for pair in copies if not pair.exact],
        lenses=[lenses[name] for name in judged],
        all_lenses=len(lenses),
        mix=mixed,
        left_out=[_output_row(rows[row], clusters[row], _TRAIN) for row in left_out],
    )
    return _write(dataset, inputs, output, settings, command)


def _refuse_overwriting(inputs: Sequence[Path], output: Path) -> None:
    for path in inputs:
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        if path.resolve().parent == output.resolve():
            raise DatasetError(f"{path} lies in the output folder and could be overwritten; choose another --output")


def preprocessors(lenses: Iterable[LensSpec], filters: Path, base: str | None) -> list[Preprocessor]:
    """Return one preprocessor for each way of reading among the lenses, in their order.

    Raises:
        DatasetError: when no filter has a backbone whose tokenizer counts, and `base` is None.
    """
    tokenizer = Tokenizer.from_file(str(_tokenizer_file(filters, base)))
    settings = dict.fromkeys(lens.preprocessing for lens in lenses)
    return [Preprocessor(each, tokenizer) for each in settings]


def _tokenizer_file(filters: Path, base: str | None) -> Path:
    if base is not None:
        # Beside torch, which only training needs.
        from distilled_filters.training.base import tokenizer_file

        return tokenizer_file(base)
    for folder in newest_folders(filters):
        try:
            spec = read_filter_spec(folder / "filter.toml")
        except SpecError:  # a lens that is not trained yet
            continue
        first, *_ = spec.parts(spec.default_checkpoint).values()
        path = filters / "backbones" / first.backbone / "tokenizer.json"
        if path.is_file():
            return path
    raise DatasetError(f"no filter in {filters} has a backbone yet; name the encoder to be trained with --base")


def _runs_by_id(
    labels: Sequence[LabelRow],
    known: set[str],
    refused: set[str | None],
    lenses: Mapping[str, LensSpec],
    judged: Sequence[str],
    rejected: list[Rejection],
) -> dict[str, list[Run]]:
    by_id: dict[str, list[LabelRow]] = defaultdict(list)
    for row in labels:
        by_id[row.id].append(row)
    runs = {}
    for id_, group in by_id.items():
        merged = merge_runs(group, lenses)
        missing = [name for name in judged if mean_scores(merged, lenses[name]) is None]
        if id_ in known and not missing:
            runs[id_] = merged
            continue
        for row in group:
            if id_ in known:
                reason = Reason.INCOMPLETE
                text = f"{id_!r} is not labelled for {', '.join(missing)}; label it, or prepare each lens alone"
            elif id_ in refused:
                reason, text = Reason.ARTICLE_REJECTED, f"the article {id_!r} is rejected; see its own row"
            else:
                reason, text = Reason.NO_ARTICLE, f"no article has the id {id_!r}; name its file, or remove the label"
            rejected.append(Rejection("label", id_, reason, f"{row.place}: {text}", row.place))
    return runs


def _units(
    labelled: Sequence[int],
    rows: Sequence[ArticleRow],
    clusters: Sequence[str],
    runs: Mapping[str, list[Run]],
    lenses: Sequence[LensSpec],
    train_only: Sequence[str],
) -> list[Unit]:
    members: dict[str, list[ArticleRow]] = defaultdict(list)
    for row in labelled:
        members[clusters[row]].append(rows[row])
    return [
        Unit(
            name=cluster,
            kind=(
                _SYNTHETIC if any(row.stratum == _SYNTHETIC for row in group) else "real",
                "+".join(sorted({row.language or _NO_LANGUAGE for row in group})),
            ),
            levels=frozenset(level for row in group for level in _levels(runs[row.id], lenses)),
            train_only=any(row.stratum in train_only for row in group),
        )
        for cluster, group in members.items()
    ]


def _levels(runs: Sequence[Run], lenses: Sequence[LensSpec]) -> Iterable[tuple[str, str]]:
    """Yield the levels that an article reaches: the scope of a lens, and each tier but the last."""
    for lens in lenses:
        dimensions = mean_scores(runs, lens) or []
        if in_scope(dimensions):
            yield lens.name, "scope"
            average, _ = verdict(dimensions, lens)
            yield from ((lens.name, tier.name) for tier in lens.tiers[:-1] if average >= tier.at_least)


def _output_row(row: ArticleRow, cluster: str, split: str | None) -> dict[str, Any]:
    given = {key: value for key, value in row.fields.items() if value == value and key not in {"split", "cluster"}}
    stratum = row.stratum or _NO_STRATUM
    return {
        **given, "id": row.id, "title": row.article.title, "content": row.article.content,
        "language": row.language or _NO_LANGUAGE, "stratum": stratum, "synthetic": stratum == _SYNTHETIC,
        "cluster": cluster, **({"split": split} if split else {}),
    }  # fmt: skip


def _oracles(dataset: Dataset) -> dict[str, dict[str, str]]:
    """Return, by id, who judged the articles all of whose readings, their exact copies' included, name an oracle."""
    keeper_of = {copy: keeper for keeper, copies in dataset.copies["exact"].items() for copy in copies}
    found = defaultdict(set)
    for row in dataset.label_rows:
        found[keeper_of.get(row.id, row.id)].add(row.oracle or "")
    return {id_: {"oracle": ", ".join(sorted(oracles))} for id_, oracles in found.items() if all(oracles)}


def _write(dataset: Dataset, inputs: Sequence[Path], output: Path, settings: Settings, command: str) -> dict[str, Any]:
    """Write the rows, then the card that names their digests: a folder without a card is not finished."""
    output.mkdir(parents=True, exist_ok=True)
    for name in ("data.json", "DATA.md"):
        (output / name).unlink(missing_ok=True)
    named = _oracles(dataset)
    files: dict[str, Sequence[Mapping[str, Any]]] = {
        "articles.jsonl": dataset.labelled,
        "labels.jsonl": [{"id": id_, **named.get(id_, {}), "runs": runs} for id_, runs in dataset.runs.items()],
        "unlabelled.jsonl": dataset.unlabelled,
        "rejected.jsonl": [rejection.as_row() for rejection in dataset.rejected],
        **({"left_out.jsonl": dataset.left_out} if dataset.mix else {}),
    }
    if not dataset.mix:
        (output / "left_out.jsonl").unlink(missing_ok=True)
    for name, rows in files.items():
        write_json_lines(output / name, rows)
    card = {
        "command": command,
        "inputs": [{"file": str(path), "sha256": sha256_of(path)} for path in inputs],
        "outputs": {name: {"rows": len(rows), "sha256": sha256_of(output / name)} for name, rows in files.items()},
        **describe(dataset, settings.held_out, settings.seed, settings.threshold),
    }
    write_text(output / "DATA.md", render(card))
    write_json(output / "data.json", card)
    return card
