"""This library as the benchmark calls it: one filter or all, as shipped or with a full window."""

from __future__ import annotations

from pathlib import Path

from plan import Settings, Text
from tokenizers import Tokenizer

from distilled_filters.article import Article
from distilled_filters.filter import Filter
from distilled_filters.panel import Panel
from distilled_filters.preprocess import Preprocessor
from distilled_filters.registry import newest_folders
from distilled_filters.spec import BackboneSpec, read_backbone_spec

__all__ = ["Library", "opened", "preprocessor"]

_FILTER = "uplifting"


class Library:
    """One filter or the panel of all, loaded."""

    def __init__(self, key: str, folder: Path, settings: Settings) -> None:
        """Load the filters of the variant `key`: one, all, one_full or all_full."""
        threads = settings["threads"]
        copies = newest_folders(folder / "filters" / ("full" if key.endswith("full") else "shipped"))
        filters = [Filter(each, threads=threads) for each in copies]
        self._scorer: Filter | Panel
        if key.startswith("one"):
            self._scorer = next(each for each in filters if each.name == _FILTER).load()
        else:
            self._scorer = Panel(filters, threads=threads).load()

    def one(self, text: Text) -> None:
        """Score one article, on one thread as ever."""
        self._scorer.score(text, strict=True)

    def many(self, texts: list[Text]) -> None:
        """Score many articles over all threads."""
        self._scorer.score_batch(texts, strict=True)

    def read(self, text: Text) -> int:
        """Return how many tokens the encoder reads."""
        filter_ = self._scorer if isinstance(self._scorer, Filter) else self._scorer.filters[0]
        return len(preprocessor(filter_)(Article.parse(text)).ids)


def opened(filter_: Filter) -> tuple[BackboneSpec, Tokenizer]:
    """Return what a filter's backbone says of itself, and a tokenizer apart from the filter's own."""
    spec = read_backbone_spec(filter_.backbone_folder / "backbone.toml")
    return spec, Tokenizer.from_file(str(filter_.backbone_folder / spec.tokenizer.path))


def preprocessor(filter_: Filter) -> Preprocessor:
    """Return a filter's way from an article to token ids."""
    return Preprocessor(filter_.spec.preprocessing, opened(filter_)[1])
