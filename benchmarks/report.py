"""What the benchmark prints: one table a question, each figure with its ratio to all filters of this library."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measure import FEWEST_FOR_P95, Results, Speed, Start
from plan import MODES, TOKENS, VARIANTS, Mode, Settings, Variant, installed_gigabytes
from rich.console import Console
from rich.table import Table

__all__ = ["Report", "figure_text", "machine_of"]

_DISTRIBUTIONS = (
    "distilled-filters",
    "onnxruntime",
    "torch",
    "transformers",
    "sentence-transformers",
    "ray",
    "pyspark",
)
# What makes int8 fast on x86.
_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8")
_WIDTH = 132


class Report:
    """Results with the look-ups that tables, JSON and plot need."""

    def __init__(self, results: Results, settings: Settings, machine: dict[str, Any]) -> None:
        self.settings, self.machine, self.skipped = settings, machine, results.skipped
        self.speeds = {(speed.variant, speed.mode, speed.tokens): speed for speed in results.speeds}
        self.starts = {(start.variant, start.tokens): start for start in results.starts}
        measured = {speed.variant for speed in results.speeds}
        self.variants = [variant for variant in VARIANTS if variant.key in measured]

    def label(self, variant: Variant) -> str:
        """Return the variant's name with the number of filters filled in."""
        return variant.label.format(filters=self.settings["filters"])

    def base(self, tokens: int) -> str:
        """Return the variant all others are compared to: all filters, reading every token, as the peers do."""
        return "all_full" if tokens > self.settings["window"] else "all"

    def show(self, console: Console) -> None:
        """Print the machine, the tables and the notes."""
        if not console.is_terminal:
            console.width = _WIDTH
        console.print(*_machine_lines(self.machine), sep="\n", highlight=False)
        for table in self._tables():
            console.print("", table)
        console.print(*self.notes(), sep="\n", highlight=False)

    def notes(self) -> list[str]:
        """Return what a reader must know to read the figures rightly."""
        count, window, threads = (self.settings[key] for key in ("filters", "window", "threads"))
        lines = [
            f"x is against all {count} filters reading as many tokens (above {window}: the full-window row). "
            f"As shipped, filters read at most {window} tokens: head and tail. Tokens include specials and prefix.",
            f"`score` uses 1 thread, everything else {threads}. p95 is left out under {FEWEST_FOR_P95} calls. "
            "Cold start: the files were in the page cache.",
            "sentence-transformers: fp32, one pass for all heads, and no padding, as lengths are not mixed.",
            f"decoders: Gemma-3-1B shape, fp32, random weights. One model is run once, its time and memory multiplied: "
            f"{count} passes of one model stand in for {count} models.",
        ]
        by_key = {variant.key: self.label(variant) for variant in VARIANTS}
        return lines + [f"skipped {by_key[key]}: {reason}" for key, reason in self.skipped.items()]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types, ratios included."""
        return {
            "machine": self.machine,
            "settings": self.settings,
            "labels": {variant.key: self.label(variant) for variant in self.variants},
            "speeds": [{**asdict(speed), **self._speed_ratios(speed)} for speed in self.speeds.values()],
            "starts": [{**asdict(start), **self._start_ratios(start)} for start in self.starts.values()],
            "notes": self.notes(),
        }

    def _tables(self) -> Iterable[Table]:
        started = [tokens for tokens in TOKENS if (self.base(tokens), tokens) in self.starts]
        yield self._table("Articles a second, median of rounds (more is better)", TOKENS, MODES, self._rate)
        yield self._table(
            "Latency of a single call, ms: p50 / p95 (less is better)", TOKENS, ("single",), self._latency
        )
        yield self._table("Peak memory of a fresh process, MiB (less is better)", started, (), self._memory)
        yield self._table(
            "Cold start, s: fresh process, import, load, first score (less is better)", started, (), self._cold
        )

    def _table(
        self, title: str, lengths: Sequence[int], modes: tuple[Mode, ...], cell: Callable[[Variant, Mode, int], str]
    ) -> Table:
        table = Table()
        table.add_column(title, min_width=31)
        if modes:
            table.add_column("by")
        for tokens in lengths:
            table.add_column(f"{tokens} tokens", justify="right")
        for variant in self.variants:
            for number, mode in enumerate(modes or MODES[:1]):
                heading = ["" if number else self.label(variant), *([variant.modes[mode]] if modes else [])]
                table.add_row(*heading, *(cell(variant, mode, tokens) for tokens in lengths))
        return table

    def _rate(self, variant: Variant, mode: Mode, tokens: int) -> str:
        speed = self.speeds.get((variant.key, mode, tokens))
        if not speed:
            return _nothing(variant)
        return f"{figure_text(speed.articles_per_s)} {_times(self._speed_ratios(speed)['rate_ratio'])}"

    def _latency(self, variant: Variant, mode: Mode, tokens: int) -> str:
        speed = self.speeds.get((variant.key, mode, tokens))
        if not speed or speed.p50_ms is None:
            return _nothing(variant)
        p95 = "-" if speed.p95_ms is None else figure_text(speed.p95_ms)
        return f"{figure_text(speed.p50_ms)} / {p95} {_times(self._speed_ratios(speed).get('p50_ratio'))}"

    def _memory(self, variant: Variant, mode: Mode, tokens: int) -> str:
        start = self.starts.get((variant.key, tokens))
        if not start:
            return _nothing(variant)
        return f"{start.peak_mib:,.0f} {_times(self._start_ratios(start)['peak_ratio'])}"

    def _cold(self, variant: Variant, mode: Mode, tokens: int) -> str:
        start = self.starts.get((variant.key, tokens))
        if not start:
            return _nothing(variant)
        return f"{figure_text(start.cold_s)} {_times(self._start_ratios(start)['cold_ratio'])}"

    def _speed_ratios(self, speed: Speed) -> dict[str, float]:
        base = self.speeds[self.base(speed.tokens), speed.mode, speed.tokens]
        ratios = {"rate_ratio": speed.articles_per_s / base.articles_per_s}
        if speed.p50_ms and base.p50_ms:
            ratios["p50_ratio"] = speed.p50_ms / base.p50_ms
        return ratios

    def _start_ratios(self, start: Start) -> dict[str, float]:
        base = self.starts[self.base(start.tokens), start.tokens]
        return {"cold_ratio": start.cold_s / base.cold_s, "peak_ratio": start.peak_mib / base.peak_mib}


def machine_of(threads: int) -> dict[str, Any]:
    """Return what the figures depend on beside the code."""
    versions = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
        "int8_instructions": [name for name in _INT8 if name in (_cpu_field("flags") or "").split()],
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": round(installed_gigabytes(), 1),
        "system": platform.platform(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version(), **versions},
    }


def _cpu_field(name: str) -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _machine_lines(machine: dict[str, Any]) -> list[str]:
    int8 = ", ".join(machine["int8_instructions"]) or "no int8 dot product found"
    lines = [
        f"{machine['cpu']} ({int8}), {machine['cores']} cores, {machine['threads']} threads used, "
        f"{machine['memory_gib']} GiB; {machine['system']}",
        ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
    ]
    if machine["load_average_before"] > 0.5:
        lines.append(f"Load average {machine['load_average_before']} before the run: something else was running.")
    return lines


def _nothing(variant: Variant) -> str:
    return "as shipped" if variant.full else "-"


def figure_text(value: float) -> str:
    """Return a figure with about three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"[dim]{figure_text(ratio):>5}x[/dim]"
