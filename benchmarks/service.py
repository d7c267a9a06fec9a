"""Load on `distillery serve` over loopback: one client, then many at saturation, then half that rate.

    python benchmarks/service.py                      # five minutes at saturation by 50 clients
    python benchmarks/service.py --seconds 20         # shows that it works, gives no figures to quote

Articles are the repository's examples, one a request, by all filters. Load comes from this process, on the same
processors as the service. At half load requests arrive at random times (Poisson), and each is timed from
when it was due, so that a slow service cannot slow its own load.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import numpy as np

SEED = 20240607
EXAMPLES = Path(__file__).parents[1] / "examples" / "articles.jsonl"
# What nobody should send; none of it may be answered with 5xx.
MISCHIEF = (
    b"{not json",
    b"",
    b"[" * 100_000,
    b'{"articles": ["\xff"]}',
    b'{"articles": 7}',
    b'{"articles": [], "filters": ["no_such"]}',
    b'{"articles": [' + b"0," * 1_000 + b"0]}",
    b'{"articles": ["' + b"x" * (9 * 2**20) + b'"]}',
)
PAUSE = 0.5
BAR = 4.0


@dataclass
class Stage:
    """What one stage of load met: seconds of every answer, and answers by status."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, Any]:
        """Return rates, and latencies in milliseconds."""
        p50, p95, p99 = np.percentile(self.latencies, (50, 95, 99)) * 1e3
        good = self.answers["200"]
        return {
            "seconds": round(self.seconds, 1),
            "requests": self.answers.total(),
            "errors": self.answers.total() - good,
            "answers": dict(self.answers),
            "articles_per_second": round(good / self.seconds, 1),
            "p50_ms": round(float(p50), 1),
            "p95_ms": round(float(p95), 1),
            "p99_ms": round(float(p99), 1),
            "max_ms": round(max(self.latencies) * 1e3, 1),
        }


@dataclass
class Memory:
    """A process's resident memory in MiB, looked at twice a second."""

    pid: int
    start: float = 0.0
    after_a_tenth: float = 0.0
    end: float = 0.0
    most: float = 0.0

    def look(self) -> float:
        """Return the memory now, and remember the most."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        now = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        self.most = max(self.most, now)
        return now

    async def watch(self, seconds: float) -> None:
        """Look on until cancelled."""
        self.start = self.look()
        due = time.monotonic() + seconds / 10
        while True:
            await asyncio.sleep(PAUSE)
            now = self.look()
            if not self.after_a_tenth and time.monotonic() >= due:
                self.after_a_tenth = now


def bodies() -> Iterator[bytes]:
    """Yield request bodies, one example article each, for ever."""
    for line in cycle(EXAMPLES.read_text(encoding="utf-8").splitlines()):
        yield b'{"articles": [%s]}' % line.encode()


@contextlib.contextmanager
def service(threads: int | None) -> Iterator[tuple[str, int]]:
    """Run the service on a free port; yield its URL and process id."""
    command = [sys.executable, "-m", "distilled_filters", "serve", "--port", "0"]
    command += ["--threads", str(threads)] if threads else []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stderr.readline() if process.stderr else ""
            found = re.search(r"http://\S+:\d+", said)
            if found is None:
                sys.exit(f"the service did not start: {said}")
            print(said.strip())
            yield found[0], process.pid
        finally:
            process.terminate()


class Load:
    """Clients of one service."""

    def __init__(self, url: str) -> None:
        self.url, self.bodies = url, bodies()

    def client(self) -> httpx.AsyncClient:
        """Return a client with a connection of its own."""
        return httpx.AsyncClient(base_url=self.url, timeout=60, headers={"content-type": "application/json"})

    async def ask(self, client: httpx.AsyncClient, stage: Stage, due: float | None = None) -> None:
        """Send one article; time it from when it was due."""
        start = time.perf_counter() if due is None else due
        try:
            answer = await client.post("/v1/score", content=next(self.bodies))
            complete = answer.status_code != 200 or all(
                score["status"] == "ok" for score in answer.json()["results"][0].values()
            )
            outcome = str(answer.status_code) if complete else "a status that is not ok"
        except httpx.HTTPError as error:
            outcome = type(error).__name__
        stage.answers[outcome] += 1
        stage.latencies.append(time.perf_counter() - start)

    async def closed(self, clients: int, seconds: float) -> Stage:
        """Every client asks again as soon as it is answered."""
        stage, start = Stage(), time.perf_counter()

        async def one() -> None:
            async with self.client() as client:
                while time.perf_counter() - start < seconds:
                    await self.ask(client, stage)

        await asyncio.gather(*(one() for _ in range(clients)))
        stage.seconds = time.perf_counter() - start
        return stage

    async def open(self, rate: float, seconds: float) -> Stage:
        """Requests arrive at random, so many a second in the mean, whatever becomes of earlier ones."""
        stage, chance, start = Stage(), random.Random(SEED), time.perf_counter()
        idle: list[httpx.AsyncClient] = []
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:

            async def one(due: float) -> None:
                client = idle.pop() if idle else await stack.enter_async_context(self.client())
                await self.ask(client, stage, due)
                idle.append(client)

            due = start
            while (due := due + chance.expovariate(rate)) < start + seconds:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(one(due))
        stage.seconds = time.perf_counter() - start
        return stage

    async def mischief(self) -> Counter[str]:
        """Send bad requests without end; return by status how they were answered."""
        answers: Counter[str] = Counter()
        async with self.client() as client:
            with contextlib.suppress(asyncio.CancelledError):
                for body in cycle(MISCHIEF):
                    try:
                        answers[str((await client.post("/v1/score", content=body)).status_code)] += 1
                    except httpx.HTTPError as error:
                        answers[type(error).__name__] += 1
                    await asyncio.sleep(PAUSE)
        return answers


async def beside(work: Awaitable[Stage], *others: Callable[[], Awaitable[Any]]) -> tuple[Stage, list[Any]]:
    """Await the work while others run; return what these answer when it is done."""
    tasks = [asyncio.ensure_future(other()) for other in others]
    stage = await work
    for task in tasks:
        task.cancel()
    return stage, await asyncio.gather(*tasks, return_exceptions=True)


async def run(url: str, pid: int, clients: int, seconds: float) -> dict[str, Any]:
    """Run all stages; return the figures."""
    load, memory = Load(url), Memory(pid)
    await load.closed(2, min(5.0, seconds / 4))  # warm
    single = (await load.closed(1, max(5.0, seconds / 10))).figures()
    show("one client", single)
    stage, (_, answered) = await beside(
        load.closed(clients, seconds), lambda: memory.watch(seconds), lambda: load.mischief()
    )
    memory.end = memory.look()
    saturation = stage.figures()
    show(f"{clients} clients, saturation", saturation)
    half = (await load.open(saturation["articles_per_second"] / 2, max(5.0, seconds / 2))).figures()
    show("half load", half)
    async with load.client() as client:
        health = (await client.get("/health")).json()
    return {
        "clients": clients,
        "single": single,
        "saturation": saturation,
        "half_load": half,
        "p95_half_load_over_single": round(half["p95_ms"] / single["p50_ms"], 2),
        "memory_mib": {key: round(value, 1) for key, value in asdict(memory).items() if key != "pid"},
        "bad_requests": dict(answered),
        "health": {"status": health["status"], "waiting": health["waiting"]},
    }


def show(name: str, figures: dict[str, Any]) -> None:
    print(
        f"{name:<24} {figures['requests']:>7,} requests, {figures['errors']} errors, "
        f"{figures['articles_per_second']:6.1f} articles/s; "
        f"p50 {figures['p50_ms']:.0f}, p95 {figures['p95_ms']:.0f}, p99 {figures['p99_ms']:.0f} ms",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300.0, help="at saturation; half of it at half load")
    parser.add_argument("--threads", type=int, help="of the service; default: the processors it may use")
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args(arguments)
    with service(options.threads) as (url, pid):
        figures = asyncio.run(run(url, pid, options.clients, options.seconds))
    memory = figures["memory_mib"]
    print(
        f"memory: {memory['start']:.0f} MiB at the start, {memory['after_a_tenth']:.0f} after a tenth, "
        f"{memory['end']:.0f} at the end, {memory['most']:.0f} at most"
    )
    print(f"bad requests, answered by status: {figures['bad_requests']}; then health: {figures['health']}")
    ratio = figures["p95_half_load_over_single"]
    print(
        f"p95 at half load is {ratio} times the single-article latency ({'under' if ratio < BAR else 'OVER'} {BAR:g})"
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
