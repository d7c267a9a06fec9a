"""Ray Data: a pool of actors, each with one opened panel, adds scores to blocks of articles.

    from distilled_filters.integrations.ray import score_dataset
    score_dataset(ray.data.read_parquet("news/"), filters=["uplifting"], concurrency=16).write_parquet("scored/")

Ray does the rest: blocks stream with back-pressure, its progress bar runs, and the blocks
of an actor that dies are scored again by another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from distilled_filters.filter import Filter
from distilled_filters.integrations.batches import BATCH_ROWS, Scoring, missing_extra

try:
    import ray
    from ray.data import ActorPoolStrategy, Dataset
except ImportError as error:
    raise missing_extra(error, "ray") from error

__all__ = ["score_dataset"]

# Ray books processors in shares as small as this one of them.
_SHARES = 10_000


def score_dataset(
    dataset: Dataset,
    filters: Iterable[Filter | str] | None = None,
    *,
    concurrency: int | tuple[int, int] | None = None,
    block_rows: int = BATCH_ROWS,
    title: str | None = None,
    content: str | None = None,
) -> Dataset:
    """Return the dataset, still lazy, with columns of scores behind its own.

    Rows may come in another order; keep a column of ids, or set Ray's
    `DataContext.get_current().execution_options.preserve_order`.

    Args:
        dataset: Articles, a row each.
        filters: Filters or requirements such as `"uplifting==1.*"`; None for all installed.
        concurrency: How many workers, one thread each, or from how few to how many;
            None for one a processor of the cluster.
        block_rows: How many articles a worker is given at once, and loses if it dies.
        title: The column of titles; None for `title` or `headline`, where there is one.
        content: The column of texts; None for `content`, `text` or `body`.

    Raises:
        ValueError: when `concurrency` or `block_rows` is less than 1, from Ray.
        DistilledFiltersError: when the filters cannot be found or used together; while the
            job runs, when a table lacks its columns or a worker has other filters.
    """
    scoring = Scoring.for_workers(filters, title=title, content=content)
    processors = [node["Resources"]["CPU"] for node in ray.nodes() if node["Alive"] and "CPU" in node["Resources"]]
    if concurrency is None:
        concurrency = max(1, int(sum(processors)))
    fewest, most = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    return dataset.repartition(target_num_rows_per_block=block_rows).map_batches(
        _Worker,
        fn_constructor_args=(scoring,),
        batch_format="pyarrow",
        batch_size=min(block_rows, BATCH_ROWS),
        compute=ActorPoolStrategy(min_size=fewest, max_size=most),
        num_cpus=_share(most, processors),
    )


class _Worker:
    """An actor of the pool."""

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        scoring.open()

    def __call__(self, table: Any) -> Any:
        return self._scoring.score_arrow(table)


def _share(workers: int, processors: list[float]) -> float:
    """Return how much of a processor each worker books: all, if some machine has one left to read articles with.

    Workers that book every processor would wait for articles, and reading them for a
    processor, forever. With as many processors left as there are machines, one of them has
    a whole one. More workers than processors are for clusters that grow.
    """
    if workers > sum(processors):
        return 1.0
    left = sum(processors) - len(processors)
    return min(1.0, max(1, math.floor(_SHARES * left / workers)) / _SHARES)
