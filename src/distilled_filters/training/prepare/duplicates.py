"""Which articles are copies of each other: exact ones by digest, near ones by MinHash.

Similarity is the Jaccard index of the sets of character shingles of the normalised
texts: characters, because not every script puts spaces between words. Candidates come
from locality-sensitive hashing (Broder, 1997; Leskovec et al., Mining of Massive
Datasets, ch. 3), and each is checked on the shingles themselves, so that the hashing
can miss a pair but never invent one.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from datasketch import MinHash, MinHashLSH
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from distilled_filters.article import Article
from distilled_filters.preprocess import clean

__all__ = ["NEAR_COPY", "CopyIndex", "Pair", "components", "find_copies", "normalised"]

_WORD = re.compile(r"\w+")
# Long enough that shared idiom does not count as copying (Mining of Massive Datasets, 3.2.2).
_SHINGLE = 9
_PERMUTATIONS = 128
NEAR_COPY = 0.6
"""The similarity from which two articles are near copies, where nobody says another."""
# A missed pair may become a leak, a false candidate costs a comparison.
_WEIGHTS = (0.1, 0.9)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows by their indices, and their Jaccard similarity, 0-1; None where the data itself says it."""

    first: int
    second: int
    similarity: float | None
    exact: bool = False


def normalised(article: Article) -> str:
    """Return what two copies share: the words of title and body, without case, marks and layout."""
    text = f"{clean(article.title)} {clean(article.content)}"
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


class CopyIndex:
    """Normalised texts, and which of them a further one copies.

    Args:
        threshold: The similarity, 0-1, from which two texts are near copies.
    """

    def __init__(self, threshold: float) -> None:
        """Begin without a text."""
        self._threshold = threshold
        self._texts: list[str] = []
        self._first_of: dict[bytes, int] = {}
        self._near = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, weights=_WEIGHTS)
        self._empty = MinHash(num_perm=_PERMUTATIONS, hashfunc=zlib.crc32)
        self._shingles = lru_cache(maxsize=256)(self._shingles_of)

    def add(self, text: str) -> list[Pair]:
        """Take the next text in; return its pairs with those before it: the first equal one, else all near copies."""
        row = len(self._texts)
        self._texts.append(text)
        first = self._first_of.setdefault(hashlib.sha256(text.encode()).digest(), row)
        if first != row:
            return [Pair(first, row, 1.0, exact=True)]
        shingles, pairs = self._shingles(row), []
        signature = self._empty.copy()
        signature.update_batch(shingles)
        for other in sorted(self._near.query(signature)):
            common = len(shingles & self._shingles(other))
            similarity = common / (len(shingles) + len(self._shingles(other)) - common)
            if similarity >= self._threshold:
                pairs.append(Pair(other, row, similarity))
        self._near.insert(row, signature)
        return pairs

    def _shingles_of(self, row: int) -> frozenset[bytes]:
        text = self._texts[row]
        return frozenset(text[i : i + _SHINGLE].encode() for i in range(max(1, len(text) - _SHINGLE + 1)))


def find_copies(texts: Sequence[str], threshold: float) -> list[Pair]:
    """Return the pairs of normalised texts that are equal (each with the first such text) or near copies.

    A near copy has a similarity of at least `threshold`, 0-1.
    """
    index = CopyIndex(threshold)
    return [pair for text in tqdm(texts, desc="duplicates", unit="article", disable=None) for pair in index.add(text)]


def components(size: int, pairs: Sequence[Pair]) -> list[int]:
    """Return for each of `size` rows the first row it is joined with, directly or through others."""
    edges = np.array([(pair.first, pair.second) for pair in pairs], dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(size, size))
    _, names = connected_components(graph, directed=False)
    _, firsts, inverse = np.unique(names, return_index=True, return_inverse=True)
    return [int(row) for row in firsts[inverse]]
