"""What a corpus costs on n workers: a model, and a simulation held against a real run of two.

    python benchmarks/scale.py --json scale.json --plot scale.png --page docs/scale.md

Measured here: what reading and writing a row cost the process that hands out the work, what
cleaning, tokenising, the encoder and the rest cost a worker, its memory, and how long one worker
and two take over the same articles. The simulation knows only the hand-out and one worker's
batches; it must foretell what two do.
"""

from __future__ import annotations

import argparse
import heapq
import json
import multiprocessing
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ours import preprocessor
from pages import fill, show, table
from report import figure_text, machine_of
from workers import EXAMPLES, encoder_share

from distilled_filters import Panel
from distilled_filters.article import Article
from distilled_filters.corpus.formats import json_line
from distilled_filters.corpus.scoring import score_records
from distilled_filters.corpus.sources import Record, find_sources, read_corpus
from distilled_filters.corpus.workers import score_in_processes

_BATCH = 16
_CORPORA = (10**6, 10**8, 10**10)
_WORKERS = (1, 2, 16, 128, 1024)
_DAY = 86_400
# What a plain disk or one stream from an object store brings, bytes a second; not measured here.
_STREAM = 200e6
_SEED = 7


@dataclass(frozen=True)
class Costs:
    """Seconds, and bytes, an article; `prepare` (cleaning, tokens) and `encoder` are parts of `score`."""

    score: float
    prepare: float
    encoder: float
    hand_out: float
    read_bytes: int
    row_bytes: int


@dataclass(frozen=True)
class Plan:
    """A corpus on so many workers: the time by one process that hands out, and how many of it would leave no wait."""

    articles: int
    workers: int
    seconds: float
    bottleneck: str
    runs: int


def main() -> None:
    options = _options()
    records = _records(options.corpus, options.articles)
    costs, batches, tokens = _costs(records, options.corpus)
    # In turns, so that a machine that slows down slows both.
    rounds = [[_run(records, workers) for workers in (1, 2)] for _ in range(options.rounds)]
    alone, together = (statistics.median(run.seconds for run in runs) for runs in zip(*rounds, strict=True))
    foretold = simulate(batches, costs.hand_out * _BATCH, 2)
    document = {
        "machine": machine_of(2), "articles": len(records), "tokens": tokens, "costs": asdict(costs),
        "worker_mib": max(run.worker_mib for runs in rounds for run in runs), "price": options.price,
        "one_worker_s": alone, "two_workers_s": together, "gain": alone / together,
        "simulated_two_workers_s": foretold, "simulation_error": foretold / together - 1,
        "plans": [asdict(plan(costs, articles, workers)) for articles in _CORPORA for workers in _WORKERS],
    }  # fmt: skip
    text = _text(document)
    show(text)
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    if options.page:
        fill(options.page, "scale", text, options.plot, "Hours a corpus takes, by the number of workers")
    if options.plot:
        _draw(costs, options.plot)


def plan(costs: Costs, articles: int, workers: int) -> Plan:
    """Return how long a corpus takes when one process hands out the work: the slowest of three is the bottleneck."""
    seconds = {
        "workers": articles * costs.score / workers,
        "hand-out": articles * costs.hand_out,
        "input": articles * costs.read_bytes / _STREAM,
    }
    bottleneck = max(seconds, key=seconds.__getitem__)
    runs = -(-max(seconds["hand-out"], seconds["input"]) // seconds["workers"])
    return Plan(articles, workers, seconds[bottleneck], bottleneck, int(runs))


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


def _costs(records: Sequence[Record], corpus: str) -> tuple[Costs, list[float], float]:
    """Return the costs an article, the seconds of each batch on one thread, and the tokens read of an article."""
    panel = Panel.all(threads=1)
    rows = list(score_records(panel, records[:_BATCH]))
    batches = []
    for start in range(0, len(records), _BATCH):
        began = time.perf_counter()
        list(score_records(panel, records[start : start + _BATCH]))
        batches.append(time.perf_counter() - began)
    prepare, articles = preprocessor(panel.filters[0]), [Article.parse(record.value) for record in records]
    began = time.process_time()
    windows = [prepare(article) for article in articles]
    preparing = (time.process_time() - began) / len(windows)
    encoder, whole = encoder_share(list(records[:400]))
    sources, began = find_sources([corpus]), time.process_time()
    read = sum(1 for _ in range(50) for _ in read_corpus(sources))
    reading = (time.process_time() - began) / read
    began = time.process_time()
    lines = [json_line(row) for _ in range(20) for row in rows]
    writing = (time.process_time() - began) / len(lines)
    score = sum(batches) / len(records)
    costs = Costs(
        score=score, prepare=preparing, encoder=score * encoder / whole, hand_out=reading + writing,
        read_bytes=sum(len(json.dumps(record.value).encode()) for record in records) // len(records),
        row_bytes=sum(map(len, lines)) // len(lines),
    )  # fmt: skip
    return costs, batches, statistics.fmean(len(window.ids) for window in windows)


@dataclass(frozen=True)
class _Run:
    seconds: float
    worker_mib: float


def _run(records: Sequence[Record], workers: int) -> _Run:
    """Return what processes take from the first row on, their start left out, and the memory of each halfway."""
    stamps, mebibytes = [], 0.0
    for row in score_in_processes(Panel.all(threads=1), records, workers):
        stamps.append(time.perf_counter())
        if row.row == len(records) // 2:
            mebibytes = statistics.fmean(_memory(child.pid) for child in multiprocessing.active_children())
    first = workers * _BATCH
    return _Run((stamps[-1] - stamps[first]) * len(records) / (len(stamps) - 1 - first), mebibytes)


def _memory(process: int | None) -> float:
    """Return a process's memory in MiB; what several share is divided among them."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _text(document: dict[str, Any]) -> str:
    """Return all figures as Markdown."""
    costs, machine = Costs(**document["costs"]), document["machine"]
    plans = [Plan(**each) for each in document["plans"]]
    parts = table(
        ["an article", "processor time, ms", "share"],
        [
            [name, figure_text(1000 * seconds), f"{seconds / costs.score:.1%}"]
            for name, seconds in (
                ("reading and writing it (the process that hands out)", costs.hand_out),
                ("cleaning and tokenising (a worker)", costs.prepare),
                ("the encoder (a worker)", costs.encoder),
                ("heads, tables, decisions (a worker)", costs.score - costs.encoder - costs.prepare),
            )
        ],
    )
    times = table(
        ["articles", *(f"{workers:,} worker{'s' * (workers > 1)}" for workers in _WORKERS)],
        [[_power(articles), *(_cell(each) for each in plans if each.articles == articles)] for articles in _CORPORA],
    )
    sums = table(
        ["articles", "processor time", f"at ${document['price']:.2f} an hour", "input", "scores, JSON lines"],
        [
            [
                _power(articles), _duration(articles * costs.score),
                f"${articles * costs.score / 3600 * document['price']:,.2f}",
                _size(articles * costs.read_bytes), _size(articles * costs.row_bytes),
            ]
            for articles in _CORPORA
        ],
    )  # fmt: skip
    return (
        f"{document['articles']:,} articles, {document['tokens']:.0f} tokens of each read, all filters as "
        f"shipped; {machine['cpu']}, load {machine['load_average_before']} before.\n\n{parts}\n"
        f"**Check.** One worker takes {document['one_worker_s']:.1f} s, two take {document['two_workers_s']:.1f} s: "
        f"**{document['gain']:.2f} times as fast**. The simulation foretold "
        f"{document['simulated_two_workers_s']:.1f} s ({document['simulation_error']:+.0%}). "
        f"A worker has {document['worker_mib']:.0f} MiB of memory.\n\n{times}\n"
        "*: one process that hands out is the limit, and workers wait. In brackets, over how many such processes "
        f"a corpus must be parted until workers are the limit again.\n\n{sums}"
    )


def _cell(each: Plan) -> str:
    return _duration(each.seconds) + ("" if each.bottleneck == "workers" else f" * ({each.runs})")


def _power(articles: int) -> str:
    return f"10^{len(str(articles)) - 1}"


def _size(count: float) -> str:
    unit = next((unit for unit in ("GB", "TB") if count < 1000 * _UNITS[unit]), "PB")
    return f"{figure_text(count / _UNITS[unit])} {unit}"


_UNITS = {"GB": 1e9, "TB": 1e12, "PB": 1e15}


def _duration(seconds: float) -> str:
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / 3600:.0f} h"
    return (
        f"{figure_text(seconds / _DAY)} days" if seconds < 1000 * _DAY else f"{figure_text(seconds / 365 / _DAY)} years"
    )


def _draw(costs: Costs, path: Path) -> None:
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.use("Agg")
    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    counts = [2**power for power in range(12)]
    for articles in _CORPORA:
        hours = [plan(costs, articles, workers).seconds / 3600 for workers in counts]
        (line,) = axis.plot(counts, hours, marker="o", markersize=4, label=f"{_power(articles)} articles")
        parted = [articles * costs.score / workers / 3600 for workers in counts]
        axis.plot(counts, parted, linestyle="--", linewidth=1, color=line.get_color())
    axis.set(
        xscale="log", yscale="log", xlabel="workers, a processor each (log)",
        title="Solid: one process hands out the work. Dashed: as many as it takes",
    )  # fmt: skip
    axis.set_xticks(counts, [f"{count:,}" for count in counts])
    marks = {
        1 / 60: "a minute",
        1: "an hour",
        24: "a day",
        30 * 24: "a month",
        365 * 24: "a year",
        3650 * 24: "10 years",
    }
    axis.set_yticks(list(marks), list(marks.values()))
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", default=str(EXAMPLES), help="what `distillery score` reads")
    parser.add_argument("--articles", type=int, default=1600, help="how many, repeated from the corpus; default: 1600")
    parser.add_argument("--rounds", type=int, default=3, help="runs of one worker and of two, in turns; default: 3")
    parser.add_argument("--price", type=float, default=0.05, help="dollars an hour of a processor; default: 0.05")
    parser.add_argument("--page", type=Path, metavar="PAGE.md", help="write the tables between this page's marks")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures here")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw the model here (needs matplotlib)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
