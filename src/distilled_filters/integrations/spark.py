"""Spark: `mapInArrow` over a data frame; each Python worker opens its panel once and keeps it between tasks.

    from distilled_filters.integrations.spark import score_dataframe
    score_dataframe(spark.read.parquet("news/"), filters=["uplifting"]).write.parquet("scored/")

Spark does the rest: partitions stream through, and the task of a worker that dies is tried again.
"""

from __future__ import annotations

from collections.abc import Iterable

from distilled_filters.filter import Filter
from distilled_filters.integrations.batches import Scoring, missing_extra

try:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DoubleType, StringType, StructField, StructType
except ImportError as error:
    raise missing_extra(error, "spark") from error

__all__ = ["score_dataframe"]


def score_dataframe(
    frame: DataFrame,
    filters: Iterable[Filter | str] | None = None,
    *,
    title: str | None = None,
    content: str | None = None,
) -> DataFrame:
    """Return the data frame, still lazy, with columns of scores behind its own.

    Rows stay in their partitions and their order. A task scores one partition on one
    thread, so make more partitions than there are processors.

    Args:
        frame: Articles, a row each.
        filters: Filters or requirements such as `"uplifting==1.*"`; None for all installed.
        title: The column of titles; None for `title` or `headline`, where there is one.
        content: The column of texts; None for `content`, `text` or `body`.

    Raises:
        DistilledFiltersError: when the filters cannot be found or used together, or the
            frame lacks its columns; while the job runs, when a worker has other filters.
    """
    scoring = Scoring.for_workers(filters, title=title, content=content)
    scoring.inputs(frame.columns)
    types = {str: StringType(), float: DoubleType()}
    scores = [StructField(name, types[kind]) for name, kind in scoring.columns.items()]
    return frame.mapInArrow(scoring.score_arrow_batches, StructType([*frame.schema.fields, *scores]))
