"""What the reports of training commands are made of: one style, tables, and pictures in a light and a dark theme."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.loaders import ChoiceLoader
from matplotlib.figure import Figure

from distilled_filters.files import write_bytes

__all__ = ["THEMES", "Pictures", "Plot", "Theme", "number", "pictures", "templates"]

S = TypeVar("S")


@dataclass(frozen=True)
class Theme:
    """Colours of a page; `methods` are those of the student, its teacher and its baselines."""

    paper: str
    ink: str
    quiet: str
    grid: str
    methods: dict[str, str]
    accent: str

    @property
    def settings(self) -> dict[str, Any]:
        """Return matplotlib's settings of this theme."""
        return {
            "figure.facecolor": self.paper,
            "savefig.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "axes.edgecolor": self.grid,
            "axes.labelcolor": self.quiet,
            "axes.titlecolor": self.ink,
            "axes.titlelocation": "left",
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.labelsize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "text.color": self.ink,
            "xtick.color": self.quiet,
            "ytick.color": self.quiet,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "xtick.major.size": 0,
            "ytick.major.size": 0,
            "grid.color": self.grid,
            "grid.linewidth": 0.8,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "font.size": 9,
        }


THEMES = {
    "light": Theme(
        paper="#ffffff", ink="#1c2530", quiet="#566373", grid="#e2e7ec", accent="#c2410c",
        methods={"student": "#0f766e", "teacher": "#b45309", "frozen_head": "#7c3aed", "tfidf_ridge": "#64748b",
                 "mean_predictor": "#a3adb8"},
    ),
    "dark": Theme(
        paper="#14191f", ink="#e8edf2", quiet="#9fadbb", grid="#2b343e", accent="#fb923c",
        methods={"student": "#2dd4bf", "teacher": "#fbbf24", "frozen_head": "#b197fc", "tfidf_ridge": "#94a3b8",
                 "mean_predictor": "#64707d"},
    ),
}  # fmt: skip

"""The page shows the one that the reader's system asks for."""


@dataclass(frozen=True)
class Plot(Generic[S]):
    """A picture of a subject: its title, how to read it, and what it shows for those who cannot see it."""

    title: str
    reading: str
    alternative: str
    paint: Callable[[S, Theme], Figure]

    def draw(self, subject: S, theme: str) -> bytes:
        """Return the picture as PNG."""
        with matplotlib.rc_context(THEMES[theme].settings):
            buffer = io.BytesIO()
            self.paint(subject, THEMES[theme]).savefig(buffer, format="png", dpi=144)
            return buffer.getvalue()


Pictures = list[tuple[Plot[S], dict[str, str]]]
"""Plots with their PNG in base64, by theme."""


def pictures(plots: Mapping[str, Plot[S]], subject: S, folder: Path) -> Pictures[S]:
    """Draw every plot in every theme, and write the light ones to `folder` as `<name>.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, plot in plots.items():
        images = {theme: plot.draw(subject, theme) for theme in THEMES}
        write_bytes(folder / f"{name}.png", images["light"])
        drawn.append((plot, {theme: base64.b64encode(png).decode() for theme, png in images.items()}))
    return drawn


def templates(package: str) -> Environment:
    """Return the templates of a package; they may extend `page.html` and import from `parts.html`."""
    loader = ChoiceLoader([PackageLoader(package, "."), PackageLoader(__name__, ".")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    return environment


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure as text, a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"
