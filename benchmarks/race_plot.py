"""The race as a picture: a row a contestant, speed on the left and quality on the right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from report import figure_text

__all__ = ["draw"]

_OURS, _PEER, _LIMIT = "#1f5fa8", "#e08a1e", "#a83232"
# Less than this lies within what a machine wavers.
_NOTABLE = 1.3
_MEASURES = (("ap_medium", "o", "average precision,\nmedium and above"), ("spearman", "D", "Spearman's correlation"))


def draw(document: dict[str, Any], path: Path) -> None:
    """Write the picture; who has no labels to go by has no dots."""
    mpl.use("Agg")
    results, facts, machine = document["results"], document["facts"], document["machine"]
    figure, (speed, quality) = plt.subplots(
        1, 2, figsize=(12, 1.6 + 0.48 * len(results)), layout="constrained", sharey=True, width_ratios=(5, 3)
    )
    rows = range(len(results))
    colors = [_OURS if each["key"].startswith("ours") else _PEER for each in results]
    rates = [each["articles_per_s"] for each in results]
    start = min(rates) / 3
    speed.barh(rows, [rate - start for rate in rates], color=colors, height=0.62, left=start)
    for row, each in zip(rows, results, strict=True):
        text = figure_text(each["articles_per_s"])
        if each["times_slower"] >= _NOTABLE:
            text += f" ({figure_text(each['times_slower'])} times slower)"
        speed.annotate(
            text, (each["articles_per_s"], row), xytext=(6, 0), textcoords="offset points", va="center", zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    limit = document["limit_articles_per_s"]
    speed.axvline(limit, color=_LIMIT, linestyle="--", linewidth=1)
    speed.annotate(
        f"int8 limit of the machine for our encoder: {figure_text(limit)}", (limit, -0.75), xytext=(-5, 0),
        textcoords="offset points", ha="right", va="center", color=_LIMIT, fontsize=9,
    )  # fmt: skip
    speed.set(
        xscale="log", xlim=(start, max([*rates, limit]) * 12), ylim=(len(results) - 0.5, -1.1),
        yticks=rows, yticklabels=[each["label"] for each in results],
        title="Articles a second, all lenses (log; more is better)",
    )  # fmt: skip
    for key, marker, label in _MEASURES:
        known = [(each[key], row) for row, each in zip(rows, results, strict=True) if each[key] is not None]
        quality.scatter(
            [value for value, _ in known], [row for _, row in known], s=70, marker=marker,
            color=[colors[row] for _, row in known], alpha=1 if marker == "o" else 0.45, label=label, zorder=3,
        )  # fmt: skip
    quality.set(title="Agreement with the labels (more is better)", xlim=(0, 1.03))
    quality.legend(frameon=False, fontsize=9, loc="lower left")
    for axis in (speed, quality):
        axis.grid(alpha=0.3, axis="x")
        axis.set_axisbelow(True)
        axis.tick_params(axis="y", length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(
        f"{facts['n']} articles of {facts['tokens']:.0f} tokens, {facts['tokens_read']:.0f} read; "
        f"{machine['cpu']}, {machine['threads']} threads"
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)
