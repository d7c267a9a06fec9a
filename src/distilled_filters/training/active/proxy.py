"""A student that is refitted in a fraction of a second, for simulations: ridge regression on TF-IDF features.

Its features never saw a label. The embeddings of a shipped backbone have: it was trained
on labels that a simulation must hide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from distilled_filters.scorers.lexical import Bag
from distilled_filters.training.lexical import rarity_weighted

__all__ = ["Features", "Ridge"]

FloatArray = npt.NDArray[np.float64]
Gram = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

# That of the ridge regression that filters are measured beside.
_PENALTY = 1.0
_DIMS = 128


class Ridge:
    """A ridge regression in its dual form, which learns more articles without forgetting what it worked out.

    Args:
        gram: What any two of n articles have in common, (n, n).
    """

    def __init__(self, gram: Gram) -> None:
        """Begin without a label."""
        self._gram = gram
        self._factor = np.empty((0, 0), dtype=np.float32)
        self.labelled: Indices = np.empty(0, dtype=np.int64)

    def learn(self, labelled: Indices) -> None:
        """Take in further articles by their indices; the Cholesky factor of the system grows by them."""
        system = self._gram[np.ix_(labelled, labelled)]
        system[np.diag_indices_from(system)] += _PENALTY
        known = self._gram[np.ix_(self.labelled, labelled)]
        cross = solve_triangular(self._factor, known, lower=True) if len(known) else known
        corner = cholesky(system - cross.T @ cross, lower=True)
        self._factor = np.block([[self._factor, np.zeros_like(cross)], [cross.T, corner]])
        self.labelled = np.concatenate([self.labelled, labelled])

    def answer(self, targets: FloatArray) -> FloatArray:
        """Fit the targets (n, t) of the articles learnt, no others, and return the answers for all, (n, t)."""
        shown = targets[self.labelled].astype(np.float32)
        means = shown.mean(axis=0)
        coefficients = cho_solve((self._factor, True), shown - means)
        answers: FloatArray = (self._gram[self.labelled].T @ coefficients + means).astype(np.float64)
        return answers


class Features:
    """Two views of n articles, (n, n) each, and their embeddings, (n, dims).

    `words` is what a student learns from here, `looks` what a filter's first look does.

    Args:
        texts: The articles.
        bags: What first looks see of them.
        vocabulary: How many tokens those count.
        pool: The articles (indices) whose texts may set the weights of words.
    """

    def __init__(self, texts: Sequence[str], bags: Sequence[Bag], vocabulary: int, pool: Indices) -> None:
        """Work out what any two articles have in common, (n, n), twice."""
        vectoriser = TfidfVectorizer(
            sublinear_tf=True, min_df=2, max_features=50_000, strip_accents="unicode", dtype=np.float32
        )
        vectoriser.fit([texts[row] for row in pool])
        words = vectoriser.transform(texts)
        self.words = _gram(words)
        self.looks = _gram(rarity_weighted(bags, vocabulary)[0])
        dims = min(_DIMS, len(pool) - 1, words.shape[1] - 1)
        reduction = TruncatedSVD(dims, random_state=0).fit(words[pool])
        self.embeddings: npt.NDArray[np.float32] = reduction.transform(words).astype(np.float32)


def _gram(features: csr_matrix) -> Gram:
    common: Gram = (features @ features.T).toarray().astype(np.float32)
    return common
