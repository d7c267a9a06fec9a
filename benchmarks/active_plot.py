"""Quality against labels, a panel a lens: the mean over seeds, and the band from the worst to the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib import ticker

__all__ = ["draw"]

_STYLES = {
    "random": ("#666666", "--", 2.0),
    "mixed": ("#1f5fa8", "-", 2.2),
    "predicted-high": ("#e08a1e", "-", 1.4),
    "uncertainty": ("#3a8f5c", "-", 1.4),
    "seeds": ("#a83232", "-", 1.4),
}
_BANDS = ("random", "mixed")
_TOLD = ("mixed", "predicted-high")
_TITLES = {
    "medium_average_precision": "average precision, medium and above",
    "ndcg_at_50": "NDCG@50",
    "scope_average_precision": "average precision, scope",
}


def draw(results: dict[str, Any], path: Path, split: str = "test", quality: str = "medium_average_precision") -> None:
    """Write the picture of one figure on one split."""
    mpl.use("Agg")
    plan, lenses = results["settings"]["plan"], results["runs"]
    labels = list(range(plan["first"], plan["budget"] + 1, plan["step"]))
    rows = -(-len(lenses) // 4)
    picture, axes = plt.subplots(rows, 4, figsize=(15, 3.6 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat[len(lenses) :]:
        axis.set_visible(False)
    for axis, (lens, runs) in zip(axes.flat, lenses.items(), strict=False):
        for strategy, (color, line, width) in _STYLES.items():
            if not runs.get(strategy):
                continue
            curves = np.array([run[split][quality] for run in runs[strategy]])
            axis.plot(labels, curves.mean(axis=0), line, color=color, linewidth=width, label=strategy)
            if strategy in _BANDS:
                axis.fill_between(labels, curves.min(axis=0), curves.max(axis=0), color=color, alpha=0.15, linewidth=0)
        target = np.mean([run[split][quality][-1] for run in runs["random"]])
        axis.axhline(target, color="#666666", linewidth=0.8, linestyle=":")
        said = [
            _said(name, results["shares"][split][quality].get(name, {}).get(lens)) for name in _TOLD if runs.get(name)
        ]
        axis.set_title("\n".join([lens, ", ".join(said)]), fontsize=10)
        axis.xaxis.set_major_locator(ticker.MultipleLocator(500))
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("labels")
    for axis in axes[:, 0]:
        axis.set_ylabel(_TITLES[quality])
    handles, names = axes.flat[0].get_legend_handles_labels()
    picture.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    pool = f"{results['settings']['pool_articles']:,} {results['settings']['pool']} articles"
    picture.suptitle(
        f"Active learning replayed on {pool}, judged on {results['settings']['judged_articles'][split]:,} of {split}\n"
        f"lines: means over seeds; bands: worst to best; dotted: random selection with all {plan['budget']:,} labels"
    )
    picture.savefig(path, dpi=110)
    plt.close(picture)


def _said(strategy: str, share: float | None) -> str:
    return f"{strategy} never" if share is None else f"{strategy} {share:.0%}"
