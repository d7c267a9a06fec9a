"""Threads against worker processes: how fast both are here, and how many processors threads could ever use.

    python benchmarks/workers.py --articles 200 --rounds 5

The interpreter runs one thread at a time; only the encoder runs beside it. An article's
processor time outside the encoder therefore bounds what threads of one process can do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pages import fill, show, table
from report import figure_text, machine_of

from distilled_filters import Panel
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.scoring import score_records
from distilled_filters.corpus.sources import Record, find_sources, read_corpus
from distilled_filters.corpus.workers import score_in_processes
from distilled_filters.scorers.onnx import Backbone
from distilled_filters.threads import thread_count

EXAMPLES = Path(__file__).parents[1] / "examples" / "articles.jsonl"


def main() -> None:
    """Measure and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", default=str(EXAMPLES), help="what `distillery score` reads")
    parser.add_argument("--articles", type=int, default=200, help="how many, repeated from the corpus")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each, in turns")
    parser.add_argument("--page", type=Path, metavar="PAGE.md", help="write the table between this page's marks")
    settings = parser.parse_args()
    machine = machine_of(thread_count())

    corpus = [record.value for record in read_corpus(find_sources([settings.corpus]))]
    records = [Record(row, corpus[row % len(corpus)], 0) for row in range(settings.articles)]
    within, whole = encoder_share(records)
    processors = thread_count()
    ways: dict[str, Callable[[], Iterator[Row]]] = {}
    for count in sorted({1, processors}):
        ways[f"{count} thread{'s' * (count > 1)}"] = partial(score_records, Panel.all(threads=count), records)
        ways[f"{count} process{'es' * (count > 1)}"] = partial(score_in_processes, Panel.all(threads=1), records, count)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(settings.rounds):
        for name, way in ways.items():
            rates[name].append(rate(way()))
    text = (
        f"{len(records):,} articles, {settings.rounds} rounds; {machine['cpu']}, "
        f"load {machine['load_average_before']} before. "
        f"An article takes {whole:.1f} ms of processor time, {within:.1f} ms of them in the encoder, "
        f"so threads of one process can keep {whole / (whole - within):.1f} processors busy at most.\n\n"
    ) + table(
        ["way", "articles/s, median", "best"],
        [[name, figure_text(statistics.median(found)), figure_text(max(found))] for name, found in rates.items()],
    )
    show(text)
    if settings.page:
        fill(settings.page, "workers", text)


def rate(rows: Iterator[Row]) -> float:
    """Return rows a second after the first tenth or so, which starts processes and opens weights."""
    stamps = [time.perf_counter() for _ in rows]
    first = len(stamps) // 5
    return (len(stamps) - 1 - first) / (stamps[-1] - stamps[first])


def encoder_share(records: list[Record]) -> tuple[float, float]:
    """Return the processor time of an article in milliseconds: in the encoder, and altogether."""
    spent, embed = 0.0, Backbone.embed

    def timed(self: Backbone, ids: Any) -> Any:
        nonlocal spent
        start = time.thread_time()
        try:
            return embed(self, ids)
        finally:
            spent += time.thread_time() - start

    Backbone.embed = timed  # type: ignore[method-assign]
    try:
        panel = Panel.all(threads=1)
        list(score_records(panel, records[:20]))
        spent, start = 0.0, time.thread_time()
        list(score_records(panel, records))
        whole = time.thread_time() - start
    finally:
        Backbone.embed = embed  # type: ignore[method-assign]
    return 1e3 * spent / len(records), 1e3 * whole / len(records)


if __name__ == "__main__":
    main()
