"""Hugging Face datasets: columns of scores by `datasets.map`.

from distilled_filters.integrations.datasets import score_dataset
scored = score_dataset(load_dataset("json", data_files="news.jsonl"), filters=["uplifting"])
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from distilled_filters.errors import SettingError
from distilled_filters.filter import Filter
from distilled_filters.integrations.batches import BATCH_ROWS, Scoring, missing_extra

try:
    from datasets import Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict, Value
except ImportError as error:
    raise missing_extra(error, "datasets") from error

__all__ = ["score_dataset"]

AnyDataset = TypeVar("AnyDataset", Dataset, DatasetDict, IterableDataset, IterableDatasetDict)


def score_dataset(
    dataset: AnyDataset,
    filters: Iterable[Filter | str] | None = None,
    *,
    num_proc: int | None = None,
    title: str | None = None,
    content: str | None = None,
) -> AnyDataset:
    """Return the dataset, or each split of a dict of them, with columns of scores behind its own.

    The cache of `datasets` tells filters apart by all their files, so that another
    checkpoint is scored afresh. The result has no format set.

    Args:
        dataset: Articles, a row each; a streamed one stays a stream.
        filters: Filters or requirements such as `"uplifting==1.*"`; None for all installed.
        num_proc: Processes, one thread each; None for this one and its threads, which
            share one copy of the weights. Streams take None.
        title: The column of titles; None for `title` or `headline`, where there is one.
        content: The column of texts; None for `content`, `text` or `body`.

    Raises:
        DistilledFiltersError: when the filters cannot be found or used together, or the
            dataset lacks its columns.
    """
    parts = list(dataset.values()) if isinstance(dataset, dict) else [dataset]
    if num_proc and not all(isinstance(part, Dataset) for part in parts):
        raise SettingError(f"a stream is read by one process; leave out num_proc={num_proc}")
    scoring = Scoring(filters, title=title, content=content, threads=1 if num_proc else None)
    scored = [_scored(part, scoring, num_proc) for part in parts]
    return type(dataset)(zip(dataset, scored, strict=True)) if isinstance(dataset, dict) else scored[0]


def _scored(part: Dataset | IterableDataset, scoring: Scoring, num_proc: int | None) -> Dataset | IterableDataset:
    # A stream may not know its columns, shows no progress and takes no processes.
    features = part.features and _features(scoring, part.features)
    if isinstance(part, Dataset) and not part:
        # `map` leaves an empty one as it is.
        return Dataset.from_dict({name: [] for name in features}, features=features, split=part.split)
    options = {"num_proc": num_proc, "desc": "scoring"} if isinstance(part, Dataset) else {}
    arrow = part.with_format("arrow")
    scored = arrow.map(scoring.score_arrow, batched=True, batch_size=BATCH_ROWS, features=features, **options)
    return scored.with_format(None)


def _features(scoring: Scoring, features: Features) -> Features:
    scoring.inputs(features)
    types = {str: Value("string"), float: Value("float64")}
    return Features({**features, **{name: types[kind] for name, kind in scoring.columns.items()}})
