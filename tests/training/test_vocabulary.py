"""Pruning a vocabulary: what is kept, what the ids become, and what it does to texts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from distilled_filters.article import Article
from distilled_filters.errors import SettingError
from distilled_filters.training.references import Reference
from distilled_filters.training.vocabulary import (
    compare_tokenizers,
    count_pieces,
    new_ids,
    prune_tokenizer,
)
from tests.conftest import FILTERS, ROOT, rows

PIECES = [
    ("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁zoo", -6.0), ("▁", -3.0), ("▁news", -4.0),
    ("n", -7.0), ("e", -7.0), ("w", -7.0), ("s", -7.0), ("z", -7.0), ("o", -7.0), ("▁new", -5.0), ("<mask>", 0.0),
]  # fmt: skip
NEWS = 6
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


@pytest.fixture
def unigram(tmp_path: Path) -> Path:
    """A tokenizer as XLM-R has it, in small."""
    tokenizer = Tokenizer(models.Unigram(PIECES, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def test_kept_are_special_short_and_seen_pieces_in_their_order(unigram: Path) -> None:
    pruned, kept = prune_tokenizer(unigram, [NEWS])
    assert [PIECES[old][0] for old in kept] == [piece for piece, _ in PIECES if piece not in ("▁zoo", "▁new")]
    assert [pruned.id_to_token(new) for new in range(len(kept))] == [PIECES[old][0] for old in kept]


def test_texts_of_kept_pieces_tokenise_as_before_and_others_are_spelt(unigram: Path) -> None:
    whole = Tokenizer.from_file(str(unigram))
    pruned, kept = prune_tokenizer(unigram, [NEWS])
    before, after = whole.encode("news zoo"), pruned.encode("news zoo")
    assert before.tokens == ["<s>", "▁news", "▁zoo", "</s>"]
    assert after.tokens == ["<s>", "▁news", "▁", "z", "o", "o", "</s>"]
    assert kept[pruned.encode("news news").ids].tolist() == whole.encode("news news").ids
    assert "<unk>" in [pruned.id_to_token(each) for each in pruned.encode("né").ids]


def test_ids_of_special_tokens_are_renumbered_everywhere(tmp_path: Path, unigram: Path) -> None:
    """Special tokens that stand behind what is left out get new ids in all four places."""
    document = json.loads(unigram.read_text())
    order = [4, 0, 1, 2, 3, *range(5, len(PIECES))]
    renumbered = {old: new for new, old in enumerate(order)}
    document["model"]["vocab"] = [document["model"]["vocab"][old] for old in order]
    document["model"]["unk_id"] = renumbered[3]
    for token in document["added_tokens"]:
        token["id"] = renumbered[token["id"]]
    for token in document["post_processor"]["special_tokens"].values():
        token["ids"] = [renumbered[old] for old in token["ids"]]
    document["padding"]["pad_id"] = renumbered[1]
    path = tmp_path / "moved.json"
    path.write_text(json.dumps(document))
    pruned, kept = prune_tokenizer(path, [])
    assert kept[0] == 1
    assert [pruned.token_to_id(token) for token in SPECIAL] == [0, 1, 2, 3, len(kept) - 1]
    assert pruned.encode("n").ids == [0, *pruned.encode("n", add_special_tokens=False).ids, 2]
    document = json.loads(pruned.to_str())
    assert document["padding"]["pad_id"] == 1
    assert document["model"]["unk_id"] == 3


def test_new_ids_answer_for_every_old_one() -> None:
    kept = np.array([0, 2, 5])
    assert new_ids(kept, 7).tolist() == [0, -1, 1, -1, -1, 2, -1]


def test_a_vocabulary_of_words_can_be_pruned(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "zoo": 2, "news": 3}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    pruned, kept = prune_tokenizer(tmp_path / "tokenizer.json", [3])
    assert kept.tolist() == [0, 1, 3]
    assert pruned.encode("a zoo news").ids == [1, 0, 2]


def test_other_vocabularies_are_refused(tmp_path: Path) -> None:
    Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(SettingError, match="not BPE"):
        prune_tokenizer(tmp_path / "tokenizer.json", [])


def test_pieces_of_a_corpus_are_counted_and_unreadable_records_left_out(unigram: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"title": "news", "content": "news news"}\n{"content": null}\nnot JSON\n')
    tokenizer = Tokenizer.from_file(str(unigram))
    counts = count_pieces(tokenizer, corpus)
    assert counts[NEWS] == 2
    # The title's line break joins it to the body's first word, as in a window.
    assert counts == Counter(tokenizer.encode("news\nnews news", add_special_tokens=False).ids)


def test_what_pruning_does_is_told_by_language(unigram: Path) -> None:
    whole = Tokenizer.from_file(str(unigram))
    pruned, kept = prune_tokenizer(unigram, [NEWS])
    references = [Reference(Article(content=text), language) for text, language in
                  (("news news", "en"), ("news zoo", "nl"), ("news", "nl"))]  # fmt: skip
    changes = compare_tokenizers(whole, pruned, kept, references)
    assert (changes["en"].identical, changes["en"].growth) == (1.0, 0.0)
    assert (changes["nl"].articles, changes["nl"].identical) == (2, 0.5)
    assert changes["nl"].growth == pytest.approx(6 / 3 - 1)


def test_the_shipped_vocabulary_can_be_pruned_to_the_examples() -> None:
    path = next(FILTERS.glob("backbones/*/v*/tokenizer.json"))
    whole = Tokenizer.from_file(str(path))
    examples = ROOT / "examples" / "articles.jsonl"
    pruned, kept = prune_tokenizer(path, count_pieces(whole, examples))
    assert pruned.get_vocab_size() == len(kept) < whole.get_vocab_size() / 5
    assert len(kept) == kept[-1] + 1 - (new_ids(kept, int(kept[-1]) + 1) == -1).sum()
    references = [Reference(Article.parse(row), "any") for row in rows(examples)]
    change = compare_tokenizers(whole, pruned, kept, references)["any"]
    assert (change.identical, change.growth) == (1.0, 0.0)
    for token in ("<s>", "</s>", "<unk>"):
        assert kept[pruned.get_vocab()[token]] == whole.token_to_id(token)
