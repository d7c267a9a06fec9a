"""Scoring by the workers of a Ray or Spark cluster; reading, writing and resuming stay on this machine.

Workers get records and give back rows, so that every format has the same bytes as a local
run. A machine that reads for them keeps hundreds of processors busy; beyond that, and for
tables that live in a cluster, `distilled_filters.integrations` scores where the data lie.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any

from distilled_filters.corpus.errors import WorkerError
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.scoring import score_record
from distilled_filters.corpus.sources import Record
from distilled_filters.corpus.workers import Workers, score_by
from distilled_filters.integrations.batches import Scoring, missing_extra
from distilled_filters.panel import Panel

__all__ = ["score_on"]

# Some seconds of work, beside which a message to another machine costs nothing.
_BATCH_RECORDS = 128
# How often Spark tries a task, as on a cluster; a local master would not try again.
_TRIES = 4
_PYTHON_ERROR = re.compile(r"^\s*(?:\w+\.)*\w*(?:Error|Exception): (.+)$", re.MULTILINE)


def score_on(engine: str, panel: Panel, records: Iterable[Record], workers: int | None = None) -> Iterator[Row]:
    """Score a stream of records lazily, in order, on the workers of `ray` or `spark`.

    Args:
        engine: `ray` or `spark`. Each finds its cluster as it always does (`RAY_ADDRESS`,
            `spark-submit`), and else starts one on this machine.
        panel: The filters.
        records: What is scored.
        workers: How many, of one thread each; None for one a processor of the cluster.

    Raises:
        MissingExtraError: when the engine is not installed.
        WorkerError: when its workers fail, such as by lack of the filters.
    """
    scoring = Scoring.for_workers(panel.filters, title=None, content=None)
    return score_by(_ENGINES[engine](scoring, workers), records, _BATCH_RECORDS)


def _score(scoring: Scoring, records: list[Record]) -> list[Row]:
    panel = scoring.open()
    return [score_record(panel, record) for record in records]


class _Ray:
    """Actors, restarted by Ray where they die, and asked again."""

    def __init__(self, scoring: Scoring, workers: int | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise missing_extra(error, "ray") from error
        self._ray: Any = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        processors = self._ray.cluster_resources().get("CPU", 1.0)
        self.count = workers or max(1, int(processors))
        # More workers than processors share them; whole ones, they would wait for each other forever.
        share = min(1.0, int(1e4 * processors / self.count) / 1e4)
        actor = ray.remote(num_cpus=share, max_restarts=-1, max_task_retries=-1)(_Actor)
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.count):
            self._idle.put(actor.remote(scoring))

    def score(self, records: list[Record]) -> list[Row]:
        actor = self._idle.get()
        try:
            rows: list[Row] = self._ray.get(actor.score.remote(records))
        except self._ray.exceptions.RayError as error:
            raise _failed("Ray", records, error) from error
        finally:
            self._idle.put(actor)
        return rows

    def close(self) -> None:
        if self._ours:
            self._ray.shutdown()


class _Actor:
    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        scoring.open()

    def score(self, records: list[Record]) -> list[Row]:
        return _score(self._scoring, records)


class _Spark:
    """Jobs of one task each, as many at once as there are workers; Spark tries a task again whose worker died."""

    def __init__(self, scoring: Scoring, workers: int | None) -> None:
        try:
            from pyspark import SparkConf
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise missing_extra(error, "spark") from error
        self._ours = SparkSession.getActiveSession() is None
        conf = SparkConf()
        if not conf.contains("spark.master"):
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            conf.setMaster(f"local[{workers or '*'},{_TRIES}]").set("spark.ui.enabled", "false")
        conf.setIfMissing("spark.ui.showConsoleProgress", "false").setIfMissing("spark.log.level", "FATAL")
        self._session = SparkSession.builder.config(conf=conf).appName("distillery score").getOrCreate()
        self._context = self._session.sparkContext
        self.count = workers or self._context.defaultParallelism
        self._score = partial(_score, scoring)

    def score(self, records: list[Record]) -> list[Row]:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        try:
            (rows,) = self._context.parallelize([records], 1).map(self._score).collect()
        except (Py4JError, PySparkException) as error:
            raise _failed("Spark", records, error) from error
        return list(rows)

    def close(self) -> None:
        if self._ours:
            self._session.stop()


def _failed(engine: str, records: list[Record], error: Exception) -> WorkerError:
    """Return an engine's error, pages long, as one line: what Python said in the worker."""
    said = _PYTHON_ERROR.findall(str(error))
    return WorkerError(
        f"{engine} could not score rows {records[0].row:,} to {records[-1].row:,}: "
        f"{said[-1] if said else type(error).__name__}"
    )


_ENGINES: dict[str, Callable[[Scoring, int | None], Workers]] = {"ray": _Ray, "spark": _Spark}
