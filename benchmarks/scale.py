"""How long a corpus takes on n workers: a model, and a simulation held against a real run of two.

    python benchmarks/scale.py --articles 400 --json scale.json --plot scale.png

Three things are measured here: what reading and writing a row cost the process that hands out the
work, what scoring costs a worker, and how long one worker and two take over the same articles.
The simulation knows only the first two and one worker's batches; it must foretell what two do.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from report import figure_text, machine_of
from rich.console import Console
from rich.table import Table

from distilled_filters import Panel
from distilled_filters.corpus.formats import json_line
from distilled_filters.corpus.scoring import score_records
from distilled_filters.corpus.sources import Record, find_sources, read_corpus
from distilled_filters.corpus.workers import score_in_processes

EXAMPLES = Path(__file__).parents[1] / "examples" / "articles.jsonl"
_BATCH = 16
_CORPORA = (10**6, 10**8, 10**10)
_WORKERS = (1, 2, 16, 128, 1024)
_DAY = 86_400
# What a plain disk or one stream from an object store brings, bytes a second; not measured here.
_STREAM = 200e6
_SEED = 7


@dataclass(frozen=True)
class Costs:
    """Seconds of processor time, and bytes, an article."""

    score: float
    hand_out: float
    read_bytes: int


@dataclass(frozen=True)
class Plan:
    """A corpus on so many workers."""

    articles: int
    workers: int
    seconds: float
    bottleneck: str


def main() -> None:
    options = _options()
    records = _records(options.corpus, options.articles)
    costs, batches = _costs(records, options.corpus)
    alone, together = (_run(records, workers) for workers in (1, 2))
    foretold = simulate(batches, costs.hand_out * _BATCH, 2)
    plans = [plan(costs, articles, workers) for articles in _CORPORA for workers in _WORKERS]
    document = {
        "machine": machine_of(2), "articles": len(records), "costs": asdict(costs), "one_worker_s": alone,
        "two_workers_s": together, "gain": alone / together, "simulated_two_workers_s": foretold,
        "simulation_error": foretold / together - 1, "plans": [asdict(each) for each in plans],
    }  # fmt: skip
    _show(Console(), document, plans)
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    if options.plot:
        _draw(costs, options.plot)


def plan(costs: Costs, articles: int, workers: int) -> Plan:
    """Return how long a corpus takes when one process hands out the work: the slowest of three is the bottleneck."""
    seconds = {
        "workers (the encoder)": articles * costs.score / workers,
        "the process that hands out": articles * costs.hand_out,
        "one stream of input": articles * costs.read_bytes / _STREAM,
    }
    bottleneck = max(seconds, key=seconds.__getitem__)
    return Plan(articles, workers, seconds[bottleneck], bottleneck)


def simulate(batches: Sequence[float], hand_out: float, workers: int) -> float:
    """Return the seconds that workers take over batches of known length, handed out one after another."""
    draw = random.Random(_SEED)
    free = [0.0] * workers
    ready = 0.0
    for seconds in draw.sample(list(batches), len(batches)):
        ready += hand_out
        heapq.heappush(free, max(heapq.heappop(free), ready) + seconds)
    return max(free)


def _records(corpus: str, articles: int) -> list[Record]:
    values = [record.value for record in read_corpus(find_sources([corpus]))]
    return [Record(row, values[row % len(values)], 0) for row in range(articles)]


def _costs(records: Sequence[Record], corpus: str) -> tuple[Costs, list[float]]:
    """Return the costs an article, and the seconds of each batch on one thread."""
    panel = Panel.all(threads=1)
    rows = list(score_records(panel, records[:_BATCH]))
    batches = []
    for start in range(0, len(records), _BATCH):
        began = time.perf_counter()
        list(score_records(panel, records[start : start + _BATCH]))
        batches.append(time.perf_counter() - began)
    sources, began = find_sources([corpus]), time.process_time()
    read = sum(1 for _ in range(50) for _ in read_corpus(sources))
    reading = (time.process_time() - began) / read
    began = time.process_time()
    lines = [json_line(row) for _ in range(20) for row in rows]
    writing = (time.process_time() - began) / len(lines)
    size = sum(len(json.dumps(record.value).encode()) for record in records) // len(records)
    return Costs(sum(batches) / len(records), reading + writing, size), batches


def _run(records: Sequence[Record], workers: int) -> float:
    """Return the seconds from the first row on that processes take, their start left out."""
    stamps = [time.perf_counter() for _ in score_in_processes(Panel.all(threads=1), records, workers)]
    first = workers * _BATCH
    return (stamps[-1] - stamps[first]) * len(records) / (len(stamps) - 1 - first)


def _show(console: Console, document: dict[str, Any], plans: Sequence[Plan]) -> None:
    costs = document["costs"]
    console.print(
        f"{1000 * costs['score']:.1f} ms to score an article, {1e6 * costs['hand_out']:.0f} us to read and write it, "
        f"{costs['read_bytes']:,} bytes"
    )
    console.print(
        f"{document['articles']} articles: one worker {document['one_worker_s']:.1f} s, two "
        f"{document['two_workers_s']:.1f} s ({document['gain']:.2f} times as fast); "
        f"simulated {document['simulated_two_workers_s']:.1f} s ({document['simulation_error']:+.0%})"
    )
    table = Table("articles", *(f"{workers:,} workers" for workers in _WORKERS))
    for articles in _CORPORA:
        cells = [each for each in plans if each.articles == articles]
        table.add_row(f"10^{len(str(articles)) - 1}", *(f"{_duration(each.seconds)}{_mark(each)}" for each in cells))
    console.print(table)
    console.print("* the process that hands out is the limit: give it a part of the corpus, and start several")


def _mark(each: Plan) -> str:
    return "" if each.bottleneck.startswith("workers") else " *"


def _duration(seconds: float) -> str:
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * _DAY else f"{figure_text(seconds / _DAY)} days"


def _draw(costs: Costs, path: Path) -> None:
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.use("Agg")
    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    counts = [2**power for power in range(12)]
    for articles in _CORPORA:
        hours = [plan(costs, articles, workers).seconds / 3600 for workers in counts]
        axis.plot(counts, hours, marker="o", label=f"10^{len(str(articles)) - 1} articles")
    axis.set(xscale="log", yscale="log", xlabel="workers (log)", ylabel="hours (log)", title="One process hands out")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", default=str(EXAMPLES), help="what `distillery score` reads")
    parser.add_argument("--articles", type=int, default=400, help="how many, repeated from the corpus")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures here")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw the model here (needs matplotlib)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
