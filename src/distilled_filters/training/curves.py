"""How a run went: its losses and rankings against the step, as figures and as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distilled_filters.files import write_bytes, write_json

__all__ = ["curves", "draw_curves", "write_curves"]

History = Sequence[Mapping[str, Any]]

# Our names of the curves, and the Trainer's.
_LOSSES = {"training_loss": "loss", "validation_loss": "eval_loss"}
_RANKINGS = {"ranking": "eval_ranking", "medium_ap": "eval_medium_ap", "scope_ap": "eval_scope_ap"}
_LABELS = {
    "training_loss": "training",
    "validation_loss": "validation",
    "ranking": "ranking (mean of both)",
    "medium_ap": "medium and above",
    "scope_ap": "in scope",
}
_COLOURS = {
    "training_loss": "#9aa5b1",
    "validation_loss": "#1f5fa8",
    "ranking": "#1f5fa8",
    "medium_ap": "#d1782a",
    "scope_ap": "#3a8f5c",
}


def curves(history: History) -> dict[str, Any]:
    """Return every curve as a list of [step, value], and the step of the best ranking (None before any look)."""
    found: dict[str, Any] = {
        name: [[row["step"], row[key]] for row in history if key in row]
        for name, key in {**_LOSSES, **_RANKINGS}.items()
    }
    best = max(found["ranking"], key=lambda point: float(point[1]), default=None)
    return {**found, "best_step": best and best[0]}


def write_curves(folder: Path, history: History) -> None:
    """Write `curves.json`."""
    write_json(folder / "curves.json", curves(history))


def draw_curves(folder: Path, history: History, title: str) -> None:
    """Draw `curves.png`: losses above, average precisions on validation below."""
    # The object, not pyplot: no window system and no global state.
    from matplotlib.figure import Figure

    found = curves(history)
    figure = Figure(figsize=(8, 7), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    above, below = figure.subplots(2, sharex=True)
    for axes, names in ((above, _LOSSES), (below, _RANKINGS)):
        for name in names:
            _draw(axes, name, found[name])
        axes.axvline(found["best_step"], color="#444444", linewidth=0.8, linestyle=":")
        axes.grid(axis="y", color="#e4e7eb")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.02)
        axes.legend(
            frameon=False, fontsize=9, ncols=len(names), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0
        )
    above.set_ylabel("loss")
    below.set_ylabel("average precision, validation")
    below.set_xlabel("step")
    best = dict(found["ranking"])[found["best_step"]]
    below.plot(found["best_step"], best, "o", markersize=8, markerfacecolor="none", color=_COLOURS["ranking"])
    below.set_title(f"best ranking {best:.3f} at step {found['best_step']:,}", loc="right", fontsize=9)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=130)
    write_bytes(folder / "curves.png", picture.getvalue())


def _draw(axes: Any, name: str, points: Sequence[tuple[int, float]]) -> None:
    if not points:
        return
    steps, values = zip(*points, strict=True)
    looks = name != "training_loss"
    axes.plot(
        steps,
        values,
        label=_LABELS[name],
        color=_COLOURS[name],
        linewidth=2 if name in ("validation_loss", "ranking") else 1.4,
        marker="o" if looks else None,
        markersize=3.5,
    )
