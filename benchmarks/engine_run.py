"""One run of one engine, in a process of its own: `engine_run.py ENGINE WORKERS FOLDER FILES`, started by engines.py.

Writes figures.json: the seconds of the engine's start and of the scoring, and a digest of all scores.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import dataset, parquet

from distilled_filters.files import write_json
from distilled_filters.filter import Filter
from distilled_filters.integrations.batches import Scoring
from distilled_filters.registry import newest_folders

__all__ = ["scoring_of"]

_MEBIBYTE = 2**20


def filters_of(folder: Path) -> list[Filter]:
    """Return the filters to score by; their screens are off, as articles of random words would end early."""
    return [Filter(each) for each in newest_folders(folder / "filters" / "shipped")]


def scoring_of(folder: Path, threads: int) -> Scoring:
    """Return the job that engines are compared on."""
    return Scoring(filters_of(folder), threads=threads)


def _local(folder: Path, files: list[str], workers: int) -> Callable[[], None]:
    scoring = scoring_of(folder, workers)

    def score() -> None:
        batches = dataset.dataset(files).to_batches()
        scored = scoring.score_arrow_batches(batches)
        first = next(scored)
        (folder / "scored").mkdir()
        with parquet.ParquetWriter(folder / "scored" / "all.parquet", first.schema) as writer:
            writer.write_batch(first)
            for batch in scored:
                writer.write_batch(batch)

    return score


def _ray(folder: Path, files: list[str], workers: int) -> Callable[[], None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    import ray.data

    from distilled_filters.integrations.ray import score_dataset

    ray.init(include_dashboard=False, object_store_memory=512 * _MEBIBYTE, logging_level="error", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def score() -> None:
        articles = ray.data.read_parquet(files)
        score_dataset(articles, filters_of(folder), concurrency=workers).write_parquet(str(folder / "scored"))

    return score


def _spark(folder: Path, files: list[str], workers: int) -> Callable[[], None]:
    """A cluster of executors in processes of their own, one processor each."""
    import pyspark
    from pyspark.sql import SparkSession

    from distilled_filters.integrations.spark import score_dataframe

    home = Path(pyspark.__file__).parent
    os.environ.update(SPARK_HOME=str(home), SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PYTHON=sys.executable)
    session = (
        SparkSession.builder.master(f"local-cluster[{workers},1,1024]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        # A partition a file: work to share out, and little to lose with a worker.
        .config("spark.sql.files.maxPartitionBytes", _MEBIBYTE)
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    # Executors leave their logs beside Spark's own files.
    atexit.register(shutil.rmtree, home / "work" / session.sparkContext.applicationId, ignore_errors=True)
    atexit.register(session.stop)

    def score() -> None:
        articles = session.read.parquet(*files)
        score_dataframe(articles, filters_of(folder)).write.parquet(str(folder / "scored"))

    return score


def _digest(folder: Path, scoring: Scoring) -> dict[str, Any]:
    """Return the SHA-256 of all scores in the order of ids, bit for bit, and how many rows there are."""
    table = (
        dataset.dataset(folder / "scored", format="parquet").to_table(columns=["id", *scoring.columns]).sort_by("id")
    )
    digest = hashlib.sha256()
    for name in table.column_names:
        column: pyarrow.ChunkedArray = table[name]
        cells = (cell.hex() if isinstance(cell, float) else str(cell) for cell in column.to_pylist())
        digest.update("\n".join([name, *cells, ""]).encode())
    first = scoring.filters[0].name
    scored = sum(status == "ok" for status in table[f"{first}_status"].to_pylist())
    return {"digest": digest.hexdigest(), "rows": table.num_rows, "scored": scored}


def main() -> None:
    engine, workers, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    files = sorted(str(file) for file in (folder / "articles").iterdir())[: int(sys.argv[4])]
    before = time.perf_counter()
    score = {"local": _local, "ray": _ray, "spark": _spark}[engine](folder, files, workers)
    begun = time.perf_counter()
    score()
    figures = {"start_seconds": begun - before, "seconds": time.perf_counter() - begun}
    if engine == "local":
        figures["cpu_seconds"] = time.process_time()
    # Into a file, because engines print what they like.
    write_json(folder / "figures.json", figures | _digest(folder, scoring_of(folder, 1)))


if __name__ == "__main__":
    main()
