"""The articles of a labelling job: each is shown to the oracle, or it is refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from distilled_filters.article import Article, record_id
from distilled_filters.corpus.sources import find_sources, read_corpus
from distilled_filters.errors import RecordError
from distilled_filters.training.oracle.prompt import Prompt, Shown

__all__ = ["Item", "Refused", "read_items"]


@dataclass(frozen=True, slots=True)
class Item:
    """An article to be judged."""

    id: str
    shown: Shown


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that no oracle is asked about; `reason` is a `Status`, `no_id` or `conflicting_rows`."""

    id: str | None
    row: int
    reason: str
    message: str


def read_items(names: Sequence[str], prompt: Prompt, most: int | None = None) -> tuple[list[Item], list[Refused]]:
    """Read the first `most` records of files; a record that stands twice is taken once.

    Raises:
        CorpusError: when a file cannot be read at all.
    """
    items: dict[str, Item] = {}
    refused: list[Refused] = []
    for row, id_, found in _shown(names, prompt, most):
        if isinstance(found, RecordError):
            refused.append(Refused(id_, row, found.status.value, str(found)))
        elif not id_:
            refused.append(Refused(None, row, "no_id", f"record {row} has no id; give every article one of its own"))
        elif items.setdefault(id_, Item(id_, found)).shown != found:
            message = f"record {row} is another article of the id {id_!r}; only the first one is judged"
            refused.append(Refused(id_, row, "conflicting_rows", message))
    return list(items.values()), refused


def _shown(
    names: Sequence[str], prompt: Prompt, most: int | None
) -> Iterator[tuple[int, str | None, Shown | RecordError]]:
    for record in islice(read_corpus(find_sources(names)), most):
        try:
            if isinstance(record.value, RecordError):
                raise record.value
            yield record.row, record_id(record.value), prompt.show(Article.parse(record.value))
        except RecordError as error:
            yield record.row, record_id(record.value), error
