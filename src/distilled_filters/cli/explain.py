"""`distillery explain`: why one article got its tiers."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distilled_filters.cli.options import FilterOptions, JsonFlag, open_panel

if TYPE_CHECKING:
    from distilled_filters.corpus.sources import Record

__all__ = ["command"]


def command(
    article: Annotated[
        str, typer.Argument(metavar="ARTICLE", help="A file, - for standard input, or the text itself in quotes.")
    ],
    row: Annotated[
        int | None,
        typer.Option(min=0, show_default=False, help="Which record of a file, counted from 0; the first by default."),
    ] = None,
    filters: FilterOptions = None,
    as_json: JsonFlag = False,
) -> None:
    """Say why one article got its tiers: dimensions, gate, and what was read.

    [bold]Examples[/bold]

      distillery explain articles.jsonl --row 3
      distillery explain page.html -f uplifting
      curl -s https://example.org/story | distillery explain - -f belonging
      distillery explain "The river runs clear again, the county's tests show ..."
    """
    from distilled_filters.cli.explain_view import show, why
    from distilled_filters.cli.terminal import screen, write_json
    from distilled_filters.corpus.scoring import score_records

    record = _record(article, row)
    panel = open_panel(filters, threads=1)
    (scored,) = score_records(panel, [record])
    if not as_json:
        show(screen(), scored, panel.filters, record.value)
        return
    document = scored.to_dict()
    for each in panel.filters:
        document["scores"][each.name]["why"] = why(scored.scores[each.name], each.spec)
    write_json(document)


def _record(article: str, row: int | None) -> Record:
    """Find the article that is meant.

    Raises:
        FileNotFoundError: where the text is one word, so that it must be a file's name.
        CorpusError: where a file has no such record.
    """
    from distilled_filters.corpus.errors import CorpusError
    from distilled_filters.corpus.sources import READABLE_SUFFIXES, find_sources, read_corpus

    wanted = row or 0
    path = Path(article)
    if article == "-":
        return _from_text(sys.stdin.buffer.read().decode("utf-8", "replace"), row)
    if len(article.split()) > 1 and not _is_file(path):
        return _from_text(article, row)
    if path.suffix.lower() not in READABLE_SUFFIXES and _is_file(path):
        return _from_text(path.read_text(encoding="utf-8", errors="replace"), row)
    found: Record | None = next(islice(read_corpus(find_sources([article])), wanted, None), None)
    if found is None:
        raise CorpusError(f"{article} has no record {wanted}; rows are counted from 0")
    return found


def _from_text(text: str, row: int | None) -> Record:
    from distilled_filters.corpus.errors import CorpusError
    from distilled_filters.corpus.sources import Record

    records, wanted = _records(text), row or 0
    if wanted >= len(records):
        raise CorpusError(f"there is no record {wanted} among {len(records)}; rows are counted from 0")
    return Record(wanted, records[wanted], 0)


def _records(text: str) -> list[object]:
    """Read a JSON object, a JSON array, JSON lines, or else a text that is itself the article."""
    if text.lstrip()[:1] in ("{", "["):
        for pieces in ([text], text.splitlines()):
            with suppress(ValueError, RecursionError):
                records = [json.loads(piece) for piece in pieces if piece.strip()]
                return records[0] if isinstance(records[0], list) and records[0] else records
    return [text]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text too long to be a file's name
        return False
