"""Fitting the first look: ridge regression of every lens's scope on an article's words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

from distilled_filters.scorers.lexical import Bag

__all__ = ["cross_fitted_looks", "fit_lexical", "looks_of", "rarity_weighted"]

FloatArray = npt.NDArray[np.float64]

_FOLDS = 5


def fit_lexical(bags: Sequence[Bag], scopes: FloatArray, vocabulary: int) -> FloatArray:
    """Return what each token says about each lens's scope, (vocabulary, lenses).

    Ridge regression on log frequencies times inverse document frequencies (Sparck Jones,
    1972), which end up in the weights. Tokens of a single article say nothing.

    Args:
        bags: n articles.
        scopes: (n, lenses), the share of readings that put an article in scope.
        vocabulary: How many tokens there are.
    """
    weighted, weights = rarity_weighted(bags, vocabulary)
    coefficients = Ridge(alpha=1.0, solver="sparse_cg").fit(weighted, scopes).coef_
    lexical: FloatArray = coefficients.reshape(scopes.shape[1], vocabulary).T * weights[:, np.newaxis]
    return lexical


def rarity_weighted(bags: Sequence[Bag], vocabulary: int) -> tuple[csr_matrix, FloatArray]:
    """Return the features (n, vocabulary) that a look is fitted on, and each token's weight in them."""
    features = _matrix(bags, vocabulary)
    frequency = np.asarray((features > 0).sum(axis=0)).ravel()
    rarity = np.where(frequency > 1, np.log((1 + len(bags)) / (1 + frequency)) + 1, 0.0)
    weighted = features.multiply(rarity).tocsr()
    # At unit length on average the penalty means the same for any corpus.
    scale = 1 / np.sqrt(weighted.multiply(weighted).sum() / len(bags))
    return weighted * scale, rarity * scale


def looks_of(bags: Sequence[Bag], lexical: FloatArray) -> FloatArray:
    """Return the first looks (n, lenses) of articles."""
    looks: FloatArray = _matrix(bags, len(lexical)) @ lexical
    return looks


def cross_fitted_looks(
    bags: Sequence[Bag], scopes: FloatArray, groups: Sequence[object], vocabulary: int
) -> FloatArray:
    """Return looks (n, lenses) by fits that saw neither the article nor its group of near-duplicates."""
    looks = np.zeros_like(scopes)
    folds = GroupKFold(min(_FOLDS, len(set(groups))))
    for others, fold in folds.split(scopes, groups=groups):
        lexical = fit_lexical([bags[i] for i in others], scopes[others], vocabulary)
        looks[fold] = looks_of([bags[i] for i in fold], lexical)
    return looks


def _matrix(bags: Sequence[Bag], vocabulary: int) -> csr_matrix:
    ends = np.cumsum([0, *(len(bag.tokens) for bag in bags)])
    tokens = np.concatenate([bag.tokens for bag in bags])
    strengths = np.concatenate([bag.strengths for bag in bags]).astype(np.float64)
    return csr_matrix((strengths, tokens, ends), shape=(len(bags), vocabulary))
