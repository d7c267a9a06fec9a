"""Leaving out of a tokenizer the pieces that no article uses, and what that does to texts.

Word embeddings are most of a small multilingual encoder, and news touches few of them. A
pruned tokenizer writes a rare word with more and shorter pieces, so what it does to
articles is measured by language before anything is written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tqdm import tqdm

from distilled_filters.article import Article
from distilled_filters.corpus.sources import find_sources, read_corpus
from distilled_filters.errors import RecordError, SettingError
from distilled_filters.preprocess import clean
from distilled_filters.training.references import Reference

__all__ = ["TokenChange", "compare_tokenizers", "count_pieces", "new_ids", "prune_tokenizer"]

# What windows are made of, also in tokenizers that do not list them as special.
_SPECIAL = frozenset({"<s>", "<pad>", "</s>", "<unk>", "<mask>"})

Ids = npt.NDArray[np.int64]
Document = dict[str, Any]


@dataclass(frozen=True)
class TokenChange:
    """What pruning does to the articles of one language.

    `identical` is the share that tokenises as before; `growth` is by how much their
    tokens grow in number, 0.01 being one percent.
    """

    articles: int
    identical: float
    growth: float


def count_pieces(tokenizer: Tokenizer, corpus: Path) -> Counter[int]:
    """Count the pieces of the articles in a file that `distillery score` could read.

    Raises:
        CorpusError: when the file's format is not known, or it cannot be read.
    """
    counts: Counter[int] = Counter()
    for record in tqdm(
        read_corpus(find_sources([str(corpus)])), desc=f"pieces of {corpus.name}", unit="article", disable=None
    ):
        try:
            article = Article.parse(record.value)
        except RecordError:
            continue
        counts.update(_encode(tokenizer, article))
    return counts


def prune_tokenizer(path: Path, seen: Iterable[int]) -> tuple[Tokenizer, Ids]:
    """Return a tokenizer without the pieces that are not needed, and which old ids it keeps.

    Kept are the pieces in `seen`, special tokens, and all pieces of one character or
    byte, so that whatever could be written before still can. Texts whose pieces are all
    kept tokenise as before. Pieces keep their order; `kept[new]` is a piece's old id, so
    that `table[kept]` prunes any table with a row a piece.

    Args:
        path: A `tokenizer.json` with a Unigram or a WordLevel model.
        seen: Ids of pieces to keep.

    Raises:
        SettingError: for other kinds of tokenizer.
    """
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    model = document["model"]
    if model["type"] not in ("Unigram", "WordLevel"):
        raise SettingError(f"{path}: only Unigram and WordLevel vocabularies can be pruned, not {model['type']}")
    pieces = _pieces(model)
    special = {token["id"] for token in document["added_tokens"]}
    special |= {index for index, piece in enumerate(pieces) if piece in _SPECIAL}
    unknown = model["unk_id"] if model["type"] == "Unigram" else model["vocab"].get(model["unk_token"])
    special |= set() if unknown is None else {unknown}
    short = {index for index, piece in enumerate(pieces) if len(piece) == 1 or _is_byte(piece)}
    kept = np.array(sorted({*seen, *special, *short}), dtype=np.int64)
    renumbered = new_ids(kept, int(max(len(pieces) - 1, kept[-1])) + 1)
    inside = kept[kept < len(pieces)]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in inside]
        model["unk_id"] = None if model["unk_id"] is None else int(renumbered[model["unk_id"]])
    else:
        model["vocab"] = {pieces[old]: new for new, old in enumerate(inside)}
    for token in document["added_tokens"]:
        token["id"] = int(renumbered[token["id"]])
    if document["padding"]:
        document["padding"]["pad_id"] = int(renumbered[document["padding"]["pad_id"]])
    _renumber_processor(document["post_processor"], renumbered)
    return Tokenizer.from_str(json.dumps(document, ensure_ascii=False)), kept


def new_ids(kept: Ids, size: int) -> Ids:
    """Return the new id of each of `size` old ones, -1 where the piece was left out."""
    mapping = np.full(size, -1, dtype=np.int64)
    mapping[kept] = np.arange(len(kept))
    return mapping


def compare_tokenizers(
    before: Tokenizer, after: Tokenizer, kept: Ids, references: Sequence[Reference]
) -> dict[str, TokenChange]:
    """Return, by language, how articles tokenise with the pruned vocabulary against the whole one."""
    by_language: dict[str, list[tuple[list[int], list[int]]]] = {}
    for reference in references:
        old, new = (_encode(tokenizer, reference.article) for tokenizer in (before, after))
        by_language.setdefault(reference.language, []).append((old, kept[new].tolist()))
    return {
        language: TokenChange(
            articles=len(pairs),
            identical=sum(old == new for old, new in pairs) / len(pairs),
            growth=sum(len(new) for _, new in pairs) / max(1, sum(len(old) for old, _ in pairs)) - 1,
        )
        for language, pairs in sorted(by_language.items())
    }


def _encode(tokenizer: Tokenizer, article: Article) -> list[int]:
    """Return the ids of all of an article, as the preprocessor makes them before it cuts a window."""
    text = "\n".join(part for part in (clean(article.title), clean(article.content)) if part)
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def _pieces(model: Document) -> list[str]:
    """Return the pieces in the order of their ids."""
    if model["type"] == "Unigram":
        return [piece for piece, _ in model["vocab"]]
    return sorted(model["vocab"], key=model["vocab"].__getitem__)


def _is_byte(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")


def _renumber_processor(processor: Document | None, renumbered: Ids) -> None:
    """Put new ids where a post-processor names special tokens."""
    if processor is None:
        return
    for inner in processor.get("processors", ()):
        _renumber_processor(inner, renumbered)
    special: Mapping[str, Document] = processor.get("special_tokens", {})
    for token in special.values():
        token["ids"] = [int(renumbered[old]) for old in token["ids"]]
    for end in ("cls", "sep"):
        if end in processor:
            processor[end] = [processor[end][0], int(renumbered[processor[end][1]])]
