"""Scoring by several workers, which answer for whole batches and of which any may die: processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from typing import Protocol

from distilled_filters.corpus.errors import WorkerError
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.scoring import score_record
from distilled_filters.corpus.sources import Record
from distilled_filters.filter import Filter
from distilled_filters.panel import BrokenFilterWarning, Panel
from distilled_filters.parallel import ordered_map
from distilled_filters.threads import THREADS_VARIABLE

__all__ = ["Workers", "score_by", "score_in_processes"]

_BATCH_RECORDS = 16
_MOST_DEATHS = 3

# What a worker process scores with, opened once.
_panel: Panel


def score_in_processes(panel: Panel, records: Iterable[Record], workers: int) -> Iterator[Row]:
    """Score a stream of records lazily, in order, in processes of one thread each.

    Every process opens the filters once. When one dies, all are replaced and what was under way is
    scored again, so that no row is lost or doubled.

    Raises:
        CheckpointError: when no filter of the panel opens.
        WorkerError: when processes die again and again over the same records.
    """
    panel.load()
    return score_by(_Processes(panel.filters, workers), records, _BATCH_RECORDS)


class Workers(Protocol):
    """Somebody who scores batches, `count` of them at once; threads call `score`."""

    count: int

    def score(self, records: list[Record]) -> list[Row]:
        """Score some records, again where a worker dies over them."""

    def close(self) -> None:
        """End the workers."""


def score_by(workers: Workers, records: Iterable[Record], batch: int) -> Iterator[Row]:
    """Score a stream of records lazily, in order, so many to a batch; close the workers at the end."""
    with closing(workers):
        for rows in ordered_map(workers.score, _batches(records, batch), workers.count):
            yield from rows


class _Processes:
    """A pool of processes, which is replaced when one of them dies."""

    def __init__(self, filters: Sequence[Filter], count: int) -> None:
        self.count = count
        self._filters = filters
        self._pool = self._new()
        self._replacing = threading.Lock()

    def score(self, records: list[Record]) -> list[Row]:
        """Score some records in one of the processes; threads may call this at once."""
        for _ in range(_MOST_DEATHS):
            pool = self._pool
            try:
                return pool.submit(_score, records).result()
            except BrokenProcessPool:
                with self._replacing:
                    if self._pool is pool:
                        pool.shutdown(wait=False)
                        self._pool = self._new()
        raise WorkerError(
            f"worker processes died {_MOST_DEATHS} times while rows {records[0].row:,} to {records[-1].row:,} were "
            "scored; where memory was short, try fewer --workers"
        )

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _new(self) -> ProcessPoolExecutor:
        # Not fork: the parent has threads, and the runtime's do not come along.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.count, context, initializer=_begin, initargs=(self._filters,))


def _batches(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    """Put records together; where reading fails, those before come first."""
    batch: list[Record] = []
    failure = None
    try:
        for record in records:
            batch.append(record)
            if len(batch) == size:
                yield batch
                batch = []
    except Exception as error:
        failure = error
    if batch:
        yield batch
    if failure is not None:
        raise failure


def _begin(filters: Sequence[Filter]) -> None:
    """Open the filters in a worker process, which ends with its parent and leaves Ctrl-C to it."""
    global _panel
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A language model asks for threads of its own; all processes together must not have more than there are.
    os.environ[THREADS_VARIABLE] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with warnings.catch_warnings():
        # The parent has told already.
        warnings.simplefilter("ignore", BrokenFilterWarning)
        _panel = Panel(filters, threads=1).load()


def _end_with_parent() -> None:
    """Keep no worker waiting for a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _score(records: list[Record]) -> list[Row]:
    return [score_record(_panel, record) for record in records]
