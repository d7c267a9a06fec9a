"""Every engine behind one call, so that one contract can be put to all of them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import pyarrow

from tests.integrations.watch.sitecustomize import LOG

INPUT = pyarrow.schema([("id", pyarrow.int64()), ("title", pyarrow.string()), ("content", pyarrow.string())])


class Adapter(ABC):
    """One engine, started once a module."""

    keeps_order = True
    missing: str | None = None
    """What stands for an article without text."""
    drops_empty = False
    """Whether a result without rows has no columns."""
    has_workers = False
    """Whether articles are scored in other processes."""
    retries = False
    """Whether what a killed worker had is scored again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def score(self, table: pyarrow.Table, filters: Sequence[str], parts: int = 4) -> pyarrow.Table:
        """Score a table of `INPUT` with two workers, split so that both have to do; return what comes out."""

    def stop(self) -> None:  # noqa: B027
        """End what was started, where something was."""


class Pandas(Adapter):
    def score(self, table: pyarrow.Table, filters: Sequence[str], parts: int = 4) -> pyarrow.Table:
        import distilled_filters.integrations.pandas  # noqa: F401

        return pyarrow.Table.from_pandas(table.to_pandas().distilled.score(filters), preserve_index=False)


class Polars(Adapter):
    def score(self, table: pyarrow.Table, filters: Sequence[str], parts: int = 4) -> pyarrow.Table:
        import polars

        import distilled_filters.integrations.polars  # noqa: F401

        return polars.from_arrow(table).distilled.score(filters).to_arrow()


class Datasets(Adapter):
    def score(self, table: pyarrow.Table, filters: Sequence[str], parts: int = 4) -> pyarrow.Table:
        from datasets import Dataset

        from distilled_filters.integrations.datasets import score_dataset

        return score_dataset(Dataset(table), filters, num_proc=self.processes).data.table

    processes: int | None = None


class DatasetsProcesses(Datasets):
    has_workers = True
    processes = 2


class Datatrove(Adapter):
    has_workers = True
    # Its readers leave out documents with no text at all.
    missing = " "

    def score(self, table: pyarrow.Table, filters: Sequence[str], parts: int = 4) -> pyarrow.Table:
        from datatrove.executor import LocalPipelineExecutor
        from datatrove.pipeline.readers import JsonlReader
        from datatrove.pipeline.writers import JsonlWriter
        from loguru import logger

        from distilled_filters.integrations.datatrove import ScoreArticles

        logger.remove()
        for folder in ("in", "out", "logs"):
            shutil.rmtree(self.folder / folder, ignore_errors=True)
            (self.folder / folder).mkdir(parents=True)
        rows = table.to_pylist()
        for part in range(parts):
            documents = (
                {"id": str(row["id"]), "text": row["content"] or self.missing, "metadata": {"title": row["title"]}}
                for row in rows[part::parts]
            )
            lines = [json.dumps(document) + "\n" for document in documents]
            (self.folder / "in" / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        step = ScoreArticles(filters)
        LocalPipelineExecutor(
            [
                JsonlReader(str(self.folder / "in")),
                step,
                JsonlWriter(str(self.folder / "out"), output_filename="${rank}.jsonl", compression=None),
            ],
            tasks=parts,
            workers=2,
            logging_dir=str(self.folder / "logs"),
        ).run()
        written = [
            json.loads(line)
            for path in (self.folder / "out").iterdir()
            for line in path.read_text("utf-8").splitlines()
        ]
        found = {int(row["id"]): row for row in written}
        assert len(found) == len(written)
        types = {str: pyarrow.string(), float: pyarrow.float64()}
        schema = [*INPUT, *(pyarrow.field(name, types[kind]) for name, kind in step.scoring.columns.items())]
        return pyarrow.Table.from_pylist(
            [row | found[row["id"]]["metadata"] for row in rows], schema=pyarrow.schema(schema)
        )


class Ray(Adapter):
    keeps_order = False
    drops_empty = True
    has_workers = retries = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # Importing it leaves files open.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
            import ray.data

            ray.init(
                num_cpus=2,
                include_dashboard=False,
                object_store_memory=100 * 2**20,
                _node_ip_address="127.0.0.1",
                log_to_driver=False,
                logging_level="error",
            )
        ray.data.DataContext.get_current().enable_progress_bars = False

    def score(self, table: pyarrow.Table, filters: Sequence[str], parts: int = 4) -> pyarrow.Table:
        import ray
        from pyarrow import parquet

        from distilled_filters.integrations.ray import score_dataset

        # From a file, because reading one takes a processor, too.
        path = self.folder / "articles.parquet"
        parquet.write_table(table, path)
        rows = max(1, table.num_rows // parts)
        scored = score_dataset(ray.data.read_parquet(str(path)), filters, concurrency=2, block_rows=rows)
        return pyarrow.concat_tables(ray.get(scored.to_arrow_refs()))

    def stop(self) -> None:
        import ray

        ray.shutdown()


class Spark(Adapter):
    """A cluster of two executors in processes of their own, one processor each."""

    has_workers = retries = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import pyspark

        home = Path(pyspark.__file__).parent
        # Executors are started by the scripts of this folder.
        os.environ.update(SPARK_HOME=str(home), SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PYTHON=sys.executable)
        from pyspark.sql import SparkSession

        # A Java process that an earlier test began has that test's environment; workers get this one's.
        given = {f"spark.executorEnv.{name}": os.environ[name] for name in ("PYTHONPATH", LOG) if name in os.environ}
        self.session = (
            SparkSession.builder.master("local-cluster[2,1,1024]")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", "4")
            .config(map=given)
            .getOrCreate()
        )
        self.session.sparkContext.setLogLevel("OFF")
        self._work = home / "work" / self.session.sparkContext.applicationId

    def score(self, table: pyarrow.Table, filters: Sequence[str], parts: int = 4) -> pyarrow.Table:
        from distilled_filters.integrations.spark import score_dataframe

        rows = [tuple(row.values()) for row in table.to_pylist()]
        part = self.session.sparkContext.parallelize(rows, parts)
        frame = self.session.createDataFrame(part, "id long, title string, content string")
        return score_dataframe(frame, filters).toArrow()

    def stop(self) -> None:
        self.session.stop()
        shutil.rmtree(self._work, ignore_errors=True)


ADAPTERS: dict[str, type[Adapter]] = {
    "pandas": Pandas,
    "polars": Polars,
    "datasets": Datasets,
    "datasets_processes": DatasetsProcesses,
    "datatrove": Datatrove,
    "ray": Ray,
    "spark": Spark,
}
MODULES = {"datasets_processes": "datasets", "spark": "pyspark"}
"""The library an adapter needs, where it is not of the same name."""
