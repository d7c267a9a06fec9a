"""A process of the benchmark: it prepares a folder for the others, or holds one variant and times it on demand.

`python worker.py FOLDER KEY` reads requests and writes replies, a line of JSON each.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, TextIO

from plan import TOKENS, Reply, Settings, Text, peak_bytes

__all__ = ["ARTICLES"]

ARTICLES = 64


class _Subject(Protocol):
    def one(self, text: Text) -> None: ...

    def many(self, texts: list[Text]) -> None: ...

    def read(self, text: Text) -> int: ...


def main() -> None:
    """Run as the key says."""
    channel = _channel()
    folder, key = Path(sys.argv[1]), sys.argv[2]
    if key == "prepare":
        print(json.dumps(_prepare(folder)), file=channel)
    elif key == "save_decoder":
        from decoder_peer import save

        save(folder / "decoder")
    else:
        _serve(folder, key, channel)


def _channel() -> TextIO:
    """Keep standard output for replies; whatever libraries print goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return channel


def _prepare(folder: Path) -> dict[str, Any]:
    """Write copies of the filters, as shipped and with a full window, and the articles; return the settings found."""
    from texts import articles, copy_filters

    full, found = copy_filters(folder / "filters")
    for tokens, texts in articles(full, ARTICLES).items():
        (folder / f"{tokens}.json").write_text(json.dumps(texts), "utf-8")
    return {**found}


def _serve(folder: Path, key: str, channel: TextIO) -> None:
    settings: Settings = json.loads((folder / "settings.json").read_text("utf-8"))
    make = _maker(key, folder, settings)
    shared, started = peak_bytes(), perf_counter()
    subject = make()
    loaded = perf_counter() - started
    texts = {tokens: json.loads((folder / f"{tokens}.json").read_text("utf-8")) for tokens in TOKENS}
    for line in sys.stdin:
        request = json.loads(line)
        seconds, value = _answer(subject, texts[request["tokens"]], request["do"], request["count"])
        reply = Reply(seconds=seconds, value=value, load_s=loaded, shared_bytes=shared, peak_bytes=peak_bytes())
        print(json.dumps(reply), file=channel)


def _maker(key: str, folder: Path, settings: Settings) -> Callable[[], _Subject]:
    """Import what the variant needs, and no more; return what loads it."""
    if key == "sentence_transformers":
        from encoder_peer import SentenceTransformers

        return lambda: SentenceTransformers(settings)
    if key == "decoder":
        from decoder_peer import Decoder

        return lambda: Decoder(folder / "decoder", settings)
    from ours import Library

    return lambda: Library(key, folder, settings)


def _answer(subject: _Subject, texts: list[Text], do: str, count: int) -> tuple[list[float], int | None]:
    if do == "read":
        return [], subject.read(texts[0])
    if do == "bulk":
        return [_timed(subject.many, texts[:count])], None
    return [_timed(subject.one, text) for text in texts[:count]], None


def _timed(function: Callable[[Any], None], argument: object) -> float:
    started = perf_counter()
    function(argument)
    return perf_counter() - started


if __name__ == "__main__":
    main()
