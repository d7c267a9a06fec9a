"""The race as a picture: speed against quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

__all__ = ["draw"]

_OURS, _PEER = "#1f5fa8", "#e08a1e"


def draw(document: dict[str, Any], path: Path) -> None:
    """Write the picture: up is better, right is faster; contestants without labels stand below the line."""
    mpl.use("Agg")
    figure, axis = plt.subplots(figsize=(10, 6), layout="constrained")
    results = document["results"]
    known = [each for each in results if each["ap_medium"] is not None]
    for each in results:
        color, quality = (_OURS if each["key"].startswith("ours") else _PEER), each["ap_medium"]
        place, marker = (each["articles_per_s"], quality or 0.0), "o" if quality else "x"
        axis.scatter(*place, s=90, color=color, marker=marker, zorder=3)
        axis.annotate(each["label"], place, xytext=(8, 5), textcoords="offset points", fontsize=9)
    limit = document["limit_articles_per_s"]
    axis.axvline(limit, color="#a83232", linestyle="--", linewidth=1)
    axis.annotate(
        "int8 limit of the machine\nfor this encoder", (limit, 0.02), xytext=(5, 0), textcoords="offset points",
        color="#a83232", fontsize=9,
    )  # fmt: skip
    facts, machine = document["facts"], document["machine"]
    axis.set(
        xscale="log", xlabel="articles a second, all lenses (log)", ylabel="average precision, medium and above",
        title=f"{facts['n']} real articles of {facts['tokens']:.0f} tokens on {machine['cpu']}, "
        f"{machine['threads']} threads",
        ylim=(-0.03, max([each["ap_medium"] for each in known], default=0.5) * 1.15),
    )  # fmt: skip
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    plt.close(figure)
