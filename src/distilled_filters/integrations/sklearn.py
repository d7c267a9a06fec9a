"""scikit-learn: articles in, a matrix of scores out, as the first step of a pipeline.

from distilled_filters.integrations.sklearn import FilterTransformer
make_pipeline(FilterTransformer(["uplifting"]), HistGradientBoostingClassifier()).fit(articles, clicked)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distilled_filters.filter import Filter
from distilled_filters.integrations.batches import Scoring, missing_extra

try:
    from sklearn.base import BaseEstimator, TransformerMixin
except ImportError as error:
    raise missing_extra(error, "sklearn") from error

__all__ = ["FilterTransformer"]


class FilterTransformer(TransformerMixin, BaseEstimator):
    """Scores as features: the weighted average, the percentile and the dimensions of each filter.

    Nothing is learnt by `fit`. An article that cannot be scored gets a row of NaN.

    Args:
        filters: Filters or requirements such as `"uplifting==1.*"`; None for all installed.
        title: The column of titles in a data frame; None for `title` or `headline`.
        content: The column of texts in a data frame; None for `content`, `text` or `body`.
        threads: Articles scored at once, as for `Filter`.
    """

    def __init__(
        self,
        filters: Sequence[Filter | str] | None = None,
        *,
        title: str | None = None,
        content: str | None = None,
        threads: int | None = None,
    ) -> None:
        """Store the arguments, as scikit-learn wants it."""
        self.filters = filters
        self.title = title
        self.content = content
        self.threads = threads

    def fit(self, X: Iterable[Any], y: object = None) -> FilterTransformer:  # noqa: N803
        """Check the arguments; the articles are not looked at.

        Raises:
            DistilledFiltersError: when the filters cannot be found or used together.
        """
        self._scoring()
        return self

    def transform(self, X: Iterable[Any]) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return (articles, features) of texts, of mappings with `title` and `content`, or of a data frame.

        Raises:
            ValueError: for a single str, which is most likely meant as a list of one.
            DistilledFiltersError: when the filters cannot be found or opened, or a frame lacks its columns.
        """
        scoring = self._scoring()
        columns = scoring.score(_records(X, scoring))
        return np.array([columns[name] for name in _features(scoring)], dtype=np.float64).T

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """Return the names of the columns that `transform` gives, such as `uplifting_evidence_level`."""
        return np.array(_features(self._scoring()), dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.requires_fit = False
        return tags

    def _scoring(self) -> Scoring:
        return Scoring(self.filters, title=self.title, content=self.content, threads=self.threads)


def _features(scoring: Scoring) -> list[str]:
    return [name for name, kind in scoring.columns.items() if kind is float]


def _records(articles: Iterable[Any], scoring: Scoring) -> Iterable[Any]:
    if isinstance(articles, str):
        raise ValueError("these are articles, not one of them: give a list such as [text]")
    if hasattr(articles, "to_dicts"):
        from distilled_filters.integrations.polars import records as polars_records

        return polars_records(articles, scoring)
    if hasattr(articles, "columns"):
        from distilled_filters.integrations.pandas import records as pandas_records

        return pandas_records(articles, scoring)
    return articles
