"""Prove engines against the local run: `python benchmarks/engines.py --articles 100000 --kill`.

The same articles go through this library alone, Ray and Spark, with one worker and with two,
and once more while a worker is killed midway. Each run is a process of its own and is
saved as it ends; the same command goes on after an interruption.
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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow
from engine_run import scoring_of
from pyarrow import parquet
from report import machine_of
from rich.console import Console
from rich.table import Table
from texts import SEED, WORDS, copy_filters

from distilled_filters.files import write_json

ROOT = Path(__file__).parents[1]
# Workers with this on their path tell when they open their filters.
_WATCH = ROOT / "tests" / "integrations" / "watch"
_LOG = "DISTILLED_FILTERS_TEST_LOG"
_RUN = Path(__file__).with_name("engine_run.py")
_LENGTHS = (25, 60)
_FILE_ROWS = 500
_ENGINES = ("local", "ray", "spark")


def main() -> None:
    options, console = _options(), Console()
    with tempfile.TemporaryDirectory(prefix="distilled-filters-engines-") as name:
        folder = Path(name)
        copy_filters(folder / "filters")
        results = _begin(options.out, options.articles, repr(scoring_of(folder, threads=1)))
        _write_articles(folder / "articles", options.articles)
        for engine, workers, killed in _plan(options):
            key = f"{engine}-{workers}{'-killed' if killed else ''}"
            if key in results["runs"]:
                continue
            console.print(f"[dim]{time.strftime('%H:%M:%S')} {key}")
            midway = _work(results["runs"]) / workers / 2 if killed else None
            results["runs"][key] = _measure(folder, engine, workers, midway)
            write_json(options.out, results)
    _show(results, console)
    whole = {(run["digest"], run["rows"]) for run in results["runs"].values()}
    if len(whole) != 1:
        sys.exit("the runs do not agree on rows and scores")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=int, default=100_000, metavar="N", help="how many (default: 100000)")
    parser.add_argument("--engine", default=",".join(_ENGINES), help="of local,ray,spark (default: all)")
    parser.add_argument("--workers", default="1,2", help="numbers of workers, one thread each (default: 1,2)")
    parser.add_argument("--kill", action="store_true", help="also kill a worker midway, with the most workers")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "engines.json", metavar="JSON")
    return parser.parse_args()


def _begin(out: Path, articles: int, filters: str) -> dict[str, Any]:
    """Take up earlier results of the same settings, or begin anew."""
    settings = {"articles": articles, "words": list(_LENGTHS), "seed": SEED, "filters": filters}
    if not out.exists():
        return {"settings": settings, "machine": machine_of(1), "runs": {}}
    results: dict[str, Any] = json.loads(out.read_text("utf-8"))
    if results["settings"] != settings:
        sys.exit(f"{out} has other settings: {results['settings']}; move it away or name another --out")
    return results


def _plan(options: argparse.Namespace) -> Iterator[tuple[str, int, bool]]:
    numbers = sorted(int(number) for number in options.workers.split(","))
    for engine in options.engine.split(","):
        if engine not in _ENGINES:
            sys.exit(f"no engine {engine!r}; there are {', '.join(_ENGINES)}")
        for workers in numbers:
            yield engine, workers, False
        if options.kill and engine != "local":
            yield engine, numbers[-1], True


def _write_articles(folder: Path, count: int) -> None:
    """Write short articles in many files, so that engines have parts to share out."""
    chance = random.Random(SEED)
    folder.mkdir()
    for first in range(0, count, _FILE_ROWS):
        rows = [
            {"id": number, "title": f"Report {number}", "content": " ".join(chance.choices(WORDS, k=length))}
            for number in range(first, min(first + _FILE_ROWS, count))
            for length in [chance.randint(*_LENGTHS)]
        ]
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"{first:08}.parquet")


def _work(runs: dict[str, Any]) -> float:
    """Return the processor seconds of all articles; unlike time, they hardly depend on what else runs."""
    local = next((run for key, run in runs.items() if key.startswith("local")), None)
    return float(local["cpu_seconds"]) if local else sys.exit("--kill needs a local run first, to know what is midway")


def _measure(folder: Path, engine: str, workers: int, kill_after: float | None) -> dict[str, Any]:
    """Score all articles in a fresh process, and kill a worker after so many processor seconds of its own."""
    log, scored = folder / "opened", folder / "scored"
    log.write_text("")
    shutil.rmtree(scored, ignore_errors=True)
    path = os.pathsep.join([str(_WATCH), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, _LOG: str(log), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(_RUN), engine, str(workers), str(folder)]
    run = subprocess.Popen(command, env=environment)
    if kill_after is not None:
        _kill(log, kill_after, run)
    if run.wait():
        sys.exit(f"{engine} with {workers} workers ended with {run.returncode}")
    figures: dict[str, Any] = json.loads((folder / "figures.json").read_text("utf-8"))
    figures["articles_per_second"] = figures["scored"] / figures["seconds"]
    return figures | {"processes": len({line.split()[0] for line in log.read_text().splitlines()})}


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


def _show(results: dict[str, Any], console: Console) -> None:
    runs = results["runs"]
    reference = next(iter(runs.values()))["digest"]
    table = Table(title=f"{results['settings']['articles']:,} articles, {results['machine']['cpu']}")
    for column in ("run", "start s", "scoring s", "articles/s", "times one worker", "processes", "rows", "scores"):
        table.add_column(column, justify="left" if column in ("run", "scores") else "right", no_wrap=column == "run")
    for key, run in runs.items():
        one = runs.get(f"{key.split('-')[0]}-1")
        ratio = f"{one['seconds'] / run['seconds']:.2f}" if one else "-"
        figures = (f"{run['start_seconds']:.1f}", f"{run['seconds']:.1f}", f"{run['articles_per_second']:.1f}", ratio)
        same = "equal" if run["digest"] == reference else "DIFFERENT"
        table.add_row(key, *figures, str(run["processes"]), f"{run['rows']:,}", same)
    console.print(table)


if __name__ == "__main__":
    main()
