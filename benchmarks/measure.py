"""The measuring: workers asked in turn, round after round, so that what slows the machine slows all alike."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from plan import MODES, TOKENS, Effort, Mode, Reply, Settings, Variant
from processes import Worker, WorkerError

__all__ = ["FEWEST_FOR_P95", "SCRIPT", "Results", "Speed", "Start", "measure"]

SCRIPT = Path(__file__).with_name("worker.py")
# From fewer calls no 95th percentile can be told.
FEWEST_FOR_P95 = 20


@dataclass(frozen=True)
class Speed:
    """One variant at one length; `read` is how many tokens its model read, a decoder's times are for all filters."""

    variant: str
    mode: Mode
    tokens: int
    read: int
    articles_per_s: float
    calls: int
    p50_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True)
class Start:
    """A fresh process: seconds to its first score, and the most memory it took by the end of a bulk pass."""

    variant: str
    tokens: int
    cold_s: float
    peak_mib: float


@dataclass
class Results:
    """Everything measured, and who was skipped for what reason."""

    speeds: list[Speed] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def measure(
    variants: list[Variant], folder: Path, settings: Settings, *, quick: bool, say: Callable[[str], None]
) -> Results:
    """Start every variant afresh for memory and cold start, then keep one process each for the rounds."""
    results = Results()
    plan = _Plan(variants, settings, quick, results.skipped)
    _measure_starts(plan, folder, results, say)
    _measure_speeds(plan, folder, results, say)
    return results


def _ask(worker: Worker, do: str, tokens: int, count: int = 1) -> Reply:
    reply: Reply = worker.ask({"do": do, "tokens": tokens, "count": count})
    return reply


@dataclass(frozen=True)
class _Plan:
    variants: list[Variant]
    settings: Settings
    quick: bool
    skipped: dict[str, str]

    def effort(self, variant: Variant) -> Effort:
        return variant.quick if self.quick else variant.effort

    def models(self, variant: Variant) -> int:
        return self.settings["filters"] if variant.each_filter else 1

    def turns(self, number: int = 0, lengths: tuple[int, ...] = TOKENS) -> Iterator[tuple[int, Variant]]:
        """Yield every length with every variant, odd rounds backwards, so that nobody always follows the same one.

        A full window differs only beyond the shipped one, and is left out below.
        """
        turns = [(tokens, variant) for tokens in lengths for variant in self.variants]
        for tokens, variant in turns[::-1] if number % 2 else turns:
            if variant.key not in self.skipped and (not variant.full or tokens > self.settings["window"]):
                yield tokens, variant

    @contextmanager
    def excused(self, variant: Variant) -> Iterator[None]:
        """Let a peer fail: it is skipped from here on. This library may not."""
        try:
            yield
        except WorkerError as error:
            if not variant.needs:
                raise
            self.skipped[variant.key] = str(error)


def _measure_starts(plan: _Plan, folder: Path, results: Results, say: Callable[[str], None]) -> None:
    found: defaultdict[tuple[int, str], list[tuple[float, float]]] = defaultdict(list)
    rounds = max(plan.effort(variant).starts for variant in plan.variants)
    for number in range(rounds):
        say(f"cold starts, round {number + 1} of {rounds}")
        for tokens, variant in plan.turns(number, TOKENS[-1:]):
            if number < plan.effort(variant).starts:
                with plan.excused(variant):
                    sample = _fresh(plan, folder, variant, tokens)
                    found[tokens, variant.key].append(sample)
    for (tokens, key), values in found.items():
        cold, peak = (statistics.median(column) for column in zip(*values, strict=True))
        results.starts.append(Start(key, tokens, cold, peak / 2**20))


def _fresh(plan: _Plan, folder: Path, variant: Variant, tokens: int) -> tuple[float, float]:
    """Return seconds from nothing to the first score, and peak bytes."""
    effort, models = plan.effort(variant), plan.models(variant)
    started = perf_counter()
    worker = Worker(SCRIPT, folder, variant.key)
    reply = _ask(worker, "single", tokens)
    seconds = perf_counter() - started
    # Further models in the same process load and run, but import nothing again.
    seconds += (models - 1) * (reply["load_s"] + reply["seconds"][0])
    if effort.bulk:
        reply = _ask(worker, "bulk", tokens, effort.bulk)
    worker.close()
    shared = reply["shared_bytes"]
    return seconds, shared + models * (reply["peak_bytes"] - shared)


def _measure_speeds(plan: _Plan, folder: Path, results: Results, say: Callable[[str], None]) -> None:
    workers = {variant.key: Worker(SCRIPT, folder, variant.key) for _, variant in plan.turns(0, TOKENS[-1:])}
    try:
        say("warming up")
        reads = _warm(plan, workers)
        timed = _rounds(plan, workers, say)
    finally:
        for worker in workers.values():
            worker.close()
    by_key = {variant.key: variant for variant in plan.variants if variant.key not in plan.skipped}
    for (tokens, key, mode), rounds in timed.items():
        if key in by_key:
            results.speeds.append(_speed(plan, by_key[key], mode, tokens, reads[tokens, key], rounds))


def _warm(plan: _Plan, workers: dict[str, Worker]) -> dict[tuple[int, str], int]:
    """Run each length once untimed; return how many tokens were read of it."""
    reads = {}
    for tokens, variant in plan.turns():
        with plan.excused(variant):
            _ask(workers[variant.key], "single", tokens)
            reads[tokens, variant.key] = _ask(workers[variant.key], "read", tokens)["value"] or 0
    return reads


_Timed = dict[tuple[int, str, Mode], list[list[float]]]


def _rounds(plan: _Plan, workers: dict[str, Worker], say: Callable[[str], None]) -> _Timed:
    timed: defaultdict[tuple[int, str, Mode], list[list[float]]] = defaultdict(list)
    rounds = max(plan.effort(variant).rounds for variant in plan.variants)
    for number in range(rounds):
        say(f"speed, round {number + 1} of {rounds}")
        for tokens, variant in plan.turns(number):
            effort, worker = plan.effort(variant), workers[variant.key]
            for mode, count in zip(MODES, (effort.calls, effort.bulk), strict=True):
                if number < effort.rounds and count:
                    with plan.excused(variant):
                        seconds = _ask(worker, mode, tokens, count)["seconds"]
                        timed[tokens, variant.key, mode].append(seconds)
    return timed


def _speed(plan: _Plan, variant: Variant, mode: Mode, tokens: int, read: int, rounds: list[list[float]]) -> Speed:
    """Turn the seconds of each round into medians; a bulk pass is one time for many articles."""
    models, effort = plan.models(variant), plan.effort(variant)
    articles = effort.bulk if mode == "bulk" else effort.calls
    rate = statistics.median(articles / (models * sum(seconds)) for seconds in rounds)
    if mode == "bulk":
        return Speed(variant.key, mode, tokens, read, rate, articles * len(rounds))
    calls = [1000 * models * second for seconds in rounds for second in seconds]
    p95 = statistics.quantiles(calls, n=20, method="inclusive")[-1] if len(calls) >= FEWEST_FOR_P95 else None
    return Speed(variant.key, mode, tokens, read, rate, len(calls), statistics.median(calls), p95)
