"""Prove engines against the local run: `python benchmarks/engines.py --articles 100000 --kill`.

The same articles go through this library alone, Ray and Spark, and once more while a worker is
killed midway; the first of them go through each with fewer workers, too, which tells what a worker
adds. Each run is a process of its own and is saved as it ends; the same command goes on after an
interruption.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow
from engine_run import scoring_of
from pages import fill, show, table
from pyarrow import parquet
from report import machine_of
from rich.console import Console
from texts import SEED, WORDS, copy_filters

from distilled_filters.files import write_json

ROOT = Path(__file__).parents[1]
# Workers with this on their path tell when they open their filters.
_WATCH = ROOT / "tests" / "integrations" / "watch"
_LOG = "DISTILLED_FILTERS_TEST_LOG"
_RUN = Path(__file__).with_name("engine_run.py")
_FILE_ROWS = 500
_ENGINES = ("local", "ray", "spark")


def main() -> None:
    options, console = _options(), Console()
    with tempfile.TemporaryDirectory(prefix="distilled-filters-engines-") as name:
        folder = Path(name)
        copy_filters(folder / "filters")
        results = _begin(options, repr(scoring_of(folder, threads=1)))
        _write_articles(folder / "articles", options.articles, options.words)
        for run in _plan(options):
            if run.key in results["runs"]:
                continue
            console.print(f"[dim]{time.strftime('%H:%M:%S')} {run.key}")
            midway = _work(results["runs"]) / run.workers / 2 if run.killed else None
            results["runs"][run.key] = _measure(folder, run, midway)
            write_json(options.out, results)
    show(_text(results))
    if options.page:
        fill(options.page, options.mark, _text(results))
    if not _agree(results["runs"]):
        sys.exit("the runs do not agree on rows and scores")


@dataclass(frozen=True)
class _Run:
    """One run: so many articles through an engine."""

    engine: str
    workers: int
    articles: int
    killed: bool = False

    @property
    def key(self) -> str:
        return f"{self.articles}-{self.engine}-{self.workers}{'-killed' if self.killed else ''}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=int, default=100_000, metavar="N", help="how many (default: 100000)")
    parser.add_argument(
        "--scaling-articles", type=int, default=30_000, metavar="N",
        help="how many of them all numbers of workers are compared on (default: 30000)",
    )  # fmt: skip
    parser.add_argument("--engine", default=",".join(_ENGINES), help="of local,ray,spark (default: all)")
    parser.add_argument("--workers", default="1,2", help="numbers of workers, one thread each (default: 1,2)")
    parser.add_argument("--kill", action="store_true", help="also kill a worker midway through all articles")
    parser.add_argument(
        "--words", type=int, nargs=2, default=[13, 18], metavar=("FEWEST", "MOST"),
        help="words of an article (default: 13 18)",
    )  # fmt: skip
    parser.add_argument("--page", type=Path, metavar="PAGE.md", help="write the table between this page's marks")
    parser.add_argument("--mark", default="engines", help="what the marks are called (default: engines)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "engines.json", metavar="JSON")
    return parser.parse_args()


def _begin(options: argparse.Namespace, filters: str) -> dict[str, Any]:
    """Take up earlier results of the same settings, or begin anew."""
    out, settings = options.out, {"words": options.words, "seed": SEED, "filters": filters}
    if not out.exists():
        return {"settings": settings, "machine": machine_of(1), "runs": {}}
    results: dict[str, Any] = json.loads(out.read_text("utf-8"))
    if results["settings"] != settings:
        sys.exit(f"{out} has other settings: {results['settings']}; move it away or name another --out")
    return results


def _plan(options: argparse.Namespace) -> Iterator[_Run]:
    """All articles with the most workers, then those that tell what a worker adds."""
    engines, numbers = options.engine.split(","), sorted(int(number) for number in options.workers.split(","))
    if unknown := set(engines) - set(_ENGINES):
        sys.exit(f"no engine {unknown.pop()!r}; there are {', '.join(_ENGINES)}")
    for engine in engines:
        yield _Run(engine, numbers[-1], options.articles)
        if options.kill and engine != "local":
            yield _Run(engine, numbers[-1], options.articles, killed=True)
    # Whole files.
    few = min(-(-options.scaling_articles // _FILE_ROWS) * _FILE_ROWS, options.articles)
    yield from (_Run(engine, workers, few) for engine in engines for workers in numbers)


def _write_articles(folder: Path, count: int, words: Sequence[int]) -> None:
    """Write articles of so many words in many files, so that engines have parts to share out."""
    chance = random.Random(SEED)
    folder.mkdir()
    for first in range(0, count, _FILE_ROWS):
        rows = [
            {"id": number, "title": f"Report {number}", "content": " ".join(chance.choices(WORDS, k=length))}
            for number in range(first, min(first + _FILE_ROWS, count))
            for length in [chance.randint(*words)]
        ]
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"{first:08}.parquet")


def _work(runs: dict[str, Any]) -> float:
    """Return the processor seconds of all articles; unlike time, they hardly depend on what else runs."""
    local = next((run for run in runs.values() if run["engine"] == "local"), None)
    return float(local["cpu_seconds"]) if local else sys.exit("--kill needs a local run first, to know what is midway")


def _measure(folder: Path, planned: _Run, kill_after: float | None) -> dict[str, Any]:
    """Score articles in a fresh process, and kill a worker after so many processor seconds of its own."""
    log, scored = folder / "opened", folder / "scored"
    log.write_text("")
    shutil.rmtree(scored, ignore_errors=True)
    path = os.pathsep.join([str(_WATCH), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, _LOG: str(log), "PYTHONWARNINGS": "ignore"}
    files = -(-planned.articles // _FILE_ROWS)
    command = [sys.executable, str(_RUN), planned.engine, str(planned.workers), str(folder), str(files)]
    run = subprocess.Popen(command, env=environment)
    if kill_after is not None:
        _kill(log, kill_after, run)
    if run.wait():
        sys.exit(f"{planned.key} ended with {run.returncode}")
    figures: dict[str, Any] = json.loads((folder / "figures.json").read_text("utf-8"))
    figures["articles_per_second"] = figures["scored"] / figures["seconds"]
    return asdict(planned) | figures | {"processes": len({line.split()[0] for line in log.read_text().splitlines()})}


def _kill(log: Path, seconds: float, run: subprocess.Popen[bytes]) -> None:
    while run.poll() is None:
        for pid in {int(line.split()[0]) for line in log.read_text().splitlines()}:
            with suppress(FileNotFoundError, ProcessLookupError):
                if _processor_seconds(pid) >= seconds:
                    os.kill(pid, signal.SIGKILL)
                    return
        time.sleep(0.1)
    sys.exit("the run ended before a worker could be killed; take more articles")


def _processor_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _agree(runs: dict[str, Any]) -> bool:
    """Tell whether all runs over as many articles have all rows and the same bits."""
    answers: dict[int, set[str]] = {}
    for run in runs.values():
        answers.setdefault(run["articles"], set()).add(run["digest"])
    return all(len(each) == 1 for each in answers.values()) and all(
        run["rows"] == run["articles"] for run in runs.values()
    )


def _text(results: dict[str, Any]) -> str:
    """Return all figures as Markdown."""
    runs, (fewest, most), machine = results["runs"], results["settings"]["words"], results["machine"]
    rows = []
    for run in runs.values():
        one = runs.get(_Run(run["engine"], 1, run["articles"]).key)
        rows.append([
            f"{run['engine']}{', one worker killed' if run['killed'] else ''}", f"{run['articles']:,}",
            str(run["workers"]), f"{run['start_seconds']:.1f}", f"{run['seconds']:.1f}",
            f"{run['articles_per_second']:.1f}", f"{one['seconds'] / run['seconds']:.2f}" if one else "",
            str(run["processes"]), f"{run['rows']:,}", f"`{run['digest'][:8]}`",
        ])  # fmt: skip
    header = ["run", "articles", "workers", "start, s", "scoring, s", "articles/s", "times one worker", "processes",
              "rows", "SHA-256 of scores"]  # fmt: skip
    verdict = "Scores are equal to the last bit." if _agree(runs) else "**Scores or rows differ.**"
    return f"Articles of {fewest} to {most} words, all filters, no screens; {machine['cpu']}. {verdict}\n\n" + table(
        header, rows
    )


if __name__ == "__main__":
    main()
