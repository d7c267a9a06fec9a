"""What a student must be held against: the teacher itself, and methods that learn less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_ridge import KernelRidge

from distilled_filters.article import Article
from distilled_filters.spec import LensSpec
from distilled_filters.training.data import Example, Runs, true_dimensions
from distilled_filters.training.evaluate.figures import Judged, judge

__all__ = ["as_article", "mean_predictor", "teacher", "tfidf_ridge"]


def as_article(example: Example) -> Article:
    """Return an example's title and body, as they came."""
    title, _, content = example.text.partition("\n")
    return Article(title, content)


def teacher(readings: Iterable[Runs], spec: LensSpec) -> tuple[Judged, Judged] | None:
    """Return the oracle's second readings and its first, over all articles read twice; None where none was."""
    zeros = [0.0] * len(spec.dimensions)
    judged = [[run.get(spec.name, zeros) for run in runs] for runs in readings]
    pairs = [each[:2] for each in ([row for row in rows if row is not None] for rows in judged) if len(each) > 1]
    if not pairs:
        return None
    first, second = (np.array([pair[index] for pair in pairs]) for index in (0, 1))
    return judge(second, spec), judge(first, spec)


def mean_predictor(training: Sequence[Example], judged: Sequence[Example], spec: LensSpec) -> Judged:
    """Answer every article with the training articles' mean."""
    return judge(np.tile(true_dimensions(training, spec).mean(axis=0), (len(judged), 1)), spec)


def tfidf_ridge(training: Sequence[Example], judged: Sequence[Example], specs: Sequence[LensSpec]) -> dict[str, Judged]:
    """Ridge regression on TF-IDF word features of the whole text: what needs no neural network."""
    features = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=50_000, strip_accents="unicode")
    fitted = features.fit_transform([example.text for example in training])
    asked = features.transform([example.text for example in judged])
    labels = np.hstack([true_dimensions(training, spec) for spec in specs])
    # The dual form: fewer articles than features, and one factorisation for all dimensions.
    ridge = KernelRidge(alpha=1.0, kernel="linear").fit(fitted, labels - labels.mean(axis=0))
    predicted = np.clip(ridge.predict(asked) + labels.mean(axis=0), 0.0, 10.0)
    ends = np.cumsum([len(spec.dimensions) for spec in specs])
    return {
        spec.name: judge(part, spec) for spec, part in zip(specs, np.split(predicted, ends[:-1], axis=1), strict=True)
    }
