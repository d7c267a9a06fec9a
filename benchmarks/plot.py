"""The benchmark's figures as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib import ticker
from plan import TOKENS, Mode, Variant
from report import Report, figure_text

__all__ = ["draw"]

# Colour, line and width: one filter lies as a broad pale band under all filters, which cost nearly the same.
_STYLES = {
    "one": ("#9cc5ec", "-", 6.0),
    "all": ("#1f5fa8", "-", 1.8),
    "one_full": ("#9cc5ec", "--", 6.0),
    "all_full": ("#1f5fa8", "--", 1.8),
    "sentence_transformers": ("#e08a1e", "-", 1.8),
    "decoder": ("#a83232", "-", 1.8),
}

# A range of so much is labelled at powers of ten only.
_WIDE = 300


def draw(report: Report, path: Path) -> None:
    """Write the picture: speed and latency by length above, memory and cold start below."""
    mpl.use("Agg")
    picture = plt.figure(figsize=(12, 9.5), layout="constrained")
    parts: Any = picture.subfigures(2, 1, height_ratios=(5, 4))
    _upper(parts[0], report)
    _lower(parts[1], report)
    machine, filters = report.machine, report.settings["filters"]
    by = f"{machine['cpu']}, {machine['threads']} threads"
    lines = [f"Scoring articles by {filters} filters on {by}"]
    if "decoder" in [variant.key for variant in report.variants]:
        lines.append(f"decoders: one model measured, times {filters}")
    picture.suptitle("\n".join(lines))
    picture.savefig(path, dpi=150)
    plt.close(picture)


def _upper(part: Any, report: Report) -> None:
    bulk, single = part.subplots(1, 2)
    _lines(bulk, report, "bulk", "Bulk: articles a second (more is better)", "articles a second")
    _lines(single, report, "single", "Single call: median latency (less is better)", "milliseconds")
    handles, labels = single.get_legend_handles_labels()
    part.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, handlelength=4)


def _lower(part: Any, report: Report) -> None:
    tokens = max(tokens for _, tokens in report.starts)
    memory, cold = part.subplots(1, 2, sharey=True)
    _dots(memory, report, tokens, "peak_mib", f"Peak memory at {tokens} tokens (less is better)", "MiB")
    _dots(cold, report, tokens, "cold_s", f"Cold start to the first score, {tokens} tokens (less is better)", "seconds")


def _lines(axis: Any, report: Report, mode: Mode, title: str, unit: str) -> None:
    for variant in report.variants:
        points = _points(report, variant, mode)
        if points:
            color, style, width = _STYLES[variant.key]
            label = report.label(variant)
            axis.plot(*zip(*points, strict=True), style, color=color, linewidth=width, marker="o", label=label)
    axis.set(title=title, xlabel="tokens an article", ylabel=f"{unit} (log)", yscale="log", xscale="log")
    axis.set_xticks(TOKENS, [str(tokens) for tokens in TOKENS])
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    _decades(axis.yaxis)
    axis.grid(alpha=0.3)


def _points(report: Report, variant: Variant, mode: Mode) -> list[tuple[int, float]]:
    """Return a variant's line; that of a full window leaves the shipped one where the window ends."""
    within = [tokens for tokens in TOKENS if tokens <= report.settings["window"]]
    points = []
    for tokens in TOKENS[len(within) - 1 :] if variant.full else TOKENS:
        key = variant.key.removesuffix("_full") if tokens in within else variant.key
        speed = report.speeds.get((key, mode, tokens))
        value = speed and (speed.articles_per_s if mode == "bulk" else speed.p50_ms)
        if value:
            points.append((tokens, value))
    return points


def _dots(axis: Any, report: Report, tokens: int, field: str, title: str, unit: str) -> None:
    """Draw dots and no bars: on a log scale the length of a bar says nothing."""
    shown = [variant for variant in reversed(report.variants) if (variant.key, tokens) in report.starts]
    values = [getattr(report.starts[variant.key, tokens], field) for variant in shown]
    labels = [report.label(variant) for variant in shown]
    colors = [_STYLES[variant.key][0] for variant in shown]
    faces = ["white" if variant.full else _STYLES[variant.key][0] for variant in shown]
    axis.scatter(values, labels, c=faces, edgecolors=colors, linewidths=2.5, s=80, zorder=3)
    for value, label in zip(values, labels, strict=True):
        axis.annotate(figure_text(value), (value, label), xytext=(9, 0), textcoords="offset points", va="center")
    axis.set(title=title, xlabel=f"{unit} (log)", xscale="log", xlim=(min(values) / 2, max(values) * 3))
    _decades(axis.xaxis)
    axis.margins(y=0.12)
    axis.grid(alpha=0.3)


def _decades(axis: Any) -> None:
    low, high = axis.get_view_interval()
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high / low < _WIDE else (1,)))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
