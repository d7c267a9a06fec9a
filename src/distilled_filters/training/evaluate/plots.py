"""Pictures of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from distilled_filters.training.evaluate.figures import FIGURES, lower_is_better
from distilled_filters.training.evaluate.measure import STUDENT, TEACHER, Evaluation
from distilled_filters.training.pages import Plot, Theme

__all__ = ["PLOTS"]


_MARKERS = {STUDENT: "o", TEACHER: "D", "frozen_head": "^", "tfidf_ridge": "s", "mean_predictor": "X"}
_COLUMNS = 4
# Points of fewer articles, and bars of fewer labels, are drawn faint: they say little.
_FEW_ARTICLES = 5
_FEW_LABELS = 20
_TOP_SCORE = 10.0


def _label(name: str) -> str:
    return {TEACHER: "teacher against itself"}.get(name, name.replace("_", " ").replace("tfidf", "TF-IDF"))


def _overview(evaluation: Evaluation, theme: Theme) -> Figure:
    """Draw a row a filter, the best on top, and the mean above all."""
    panels = ("medium_average_precision", "in_scope_dimension_mae")
    order = sorted(
        evaluation.reports, key=lambda name: evaluation.reports[name]["methods"][STUDENT][panels[0]] or 0.0
    )  # fmt: skip
    names = [*order, "mean of the filters"]
    figure = Figure(figsize=(11, 1.6 + 0.42 * len(names)), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
        for row, name in enumerate(names):
            report = evaluation.reports.get(name)
            methods = report["methods"] if report else evaluation.means
            values: dict[str, float] = {
                each: value for each in evaluation.methods if (value := methods[each][key]) is not None
            }
            axes.plot([min(values.values()), max(values.values())], [row, row], color=theme.grid, lw=2.5, zorder=1)
            if report and (bounds := report["intervals_95"].get(key)):
                axes.plot(bounds, [row, row], color=theme.methods[STUDENT], lw=5, alpha=0.28, zorder=2,
                          solid_capstyle="round")  # fmt: skip
            for each, value in values.items():
                axes.plot(
                    value, row, _MARKERS[each], color=theme.methods[each], ms=9 if each == STUDENT else 6.5,
                    zorder=4 if each == STUDENT else 3, label=_label(each) if row == 0 else None,
                )  # fmt: skip
        axes.axhline(len(order) - 0.5, color=theme.grid, lw=1)
        axes.set_yticks(range(len(names)), [_label(name) for name in names], fontsize=9, color=theme.ink)
        better = "less is better" if lower_is_better(key) else "more is better"
        axes.set_title(f"{FIGURES[key].label} ({better})")
        axes.grid(axis="x")
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_xlim(left=0)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _precision_recall(evaluation: Evaluation, theme: Theme) -> Figure:
    figure = _grid_figure(evaluation, theme, "recall of medium and above", "precision")
    for axes, name in _panels(figure, evaluation):
        positive = evaluation.truths[name].averages >= evaluation.reports[name]["medium_at_least"]
        axes.axhline(0.5, color=theme.quiet, lw=0.8, ls=(0, (2, 3)))
        for each, answers in reversed(evaluation.answers[name].items()):
            if each == "mean_predictor" or not positive.any():
                continue
            precision, recall, _ = precision_recall_curve(positive, answers.averages)
            strong = each == STUDENT
            axes.step(
                recall, precision, where="post", color=theme.methods[each], lw=2.2 if strong else 1.2,
                ls="-" if strong else "--" if each == "tfidf_ridge" else ":", label=_label(each),
            )  # fmt: skip
        student = evaluation.reports[name]["methods"][STUDENT]
        value = student["medium_average_precision"]
        shown = "none" if value is None else f"AP {value:.2f}"
        axes.set_title(f"{_label(name)}\n", loc="left")
        axes.text(
            0, 1.03, f"{shown}, {student['medium_and_above']:.0f} articles", transform=axes.transAxes,
            color=theme.quiet, fontsize=8.5,
        )  # fmt: skip
        axes.set(xlim=(0, 1.02), ylim=(0, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    _legend(figure)
    return figure


def _scatter(evaluation: Evaluation, theme: Theme) -> Figure:
    figure = _grid_figure(evaluation, theme, "the oracle's weighted average", "the student's weighted average")
    for axes, name in _panels(figure, evaluation):
        truth, student = evaluation.truths[name].averages, evaluation.answers[name][STUDENT].averages
        boundary = evaluation.reports[name]["medium_at_least"]
        axes.plot([0, _TOP_SCORE], [0, _TOP_SCORE], color=theme.grid, lw=1.2, zorder=0)
        axes.axvline(boundary, color=theme.accent, lw=0.8, alpha=0.7, ls=(0, (3, 3)))
        axes.axhline(boundary, color=theme.accent, lw=0.8, alpha=0.7, ls=(0, (3, 3)))
        for members, marker, colour, label in (
            (~evaluation.synthetic, "o", theme.methods[STUDENT], "real"),
            (evaluation.synthetic, "D", theme.methods["frozen_head"], "synthetic"),
        ):
            axes.scatter(
                truth[members], student[members], s=14, marker=marker, color=colour, alpha=0.5, lw=0, label=label
            )
        axes.set_title(_label(name))
        axes.set(xlim=(-0.2, _TOP_SCORE), ylim=(-0.2, _TOP_SCORE), xticks=range(0, 11, 2), yticks=range(0, 11, 2))
        axes.set_aspect("equal")
    _legend(figure)
    return figure


def _calibration(evaluation: Evaluation, theme: Theme) -> Figure:
    figure = _grid_figure(evaluation, theme, "mean predicted average in the bin", "mean true average")
    curves = {name: report["calibration_curve"] for name, report in evaluation.reports.items()}
    edge = np.ceil(max(max(each["predicted"], each["true"]) for curve in curves.values() for each in curve)) + 0.5
    for axes, name in _panels(figure, evaluation):
        predicted, true, sizes = (np.array([each[key] for each in curves[name]]) for key in ("predicted", "true", "n"))
        firm, colour = sizes >= _FEW_ARTICLES, theme.methods[STUDENT]
        axes.plot([0, edge], [0, edge], color=theme.quiet, lw=0.9, ls=(0, (2, 3)))
        axes.plot(predicted[firm], true[firm], color=colour, lw=1.4, alpha=0.7)
        axes.scatter(
            predicted, true, s=14 + 24 * np.log10(sizes), zorder=3, edgecolors=colour,
            facecolors=[colour if each else theme.paper for each in firm],
        )  # fmt: skip
        for x, y, size in zip(predicted, true, sizes, strict=True):
            axes.annotate(
                f"{size:.0f}", (x, y), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=7,
                color=theme.quiet,
            )  # fmt: skip
        axes.set_title(_label(name))
        axes.set(xlim=(-0.4, edge), ylim=(-0.4, edge))
        axes.set_aspect("equal")
    return figure


def _groups(evaluation: Evaluation, theme: Theme) -> Figure:
    groups = {name: parts for name, parts in evaluation.groups.items() if parts}
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    widths = [len(parts) + 1 for parts in groups.values()]
    titles = {"length": "length in tokens", "stratum": "stratum of real articles"}
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, (group, parts) in zip(panels, groups.items(), strict=True):
        for place, figures in enumerate(parts.values()):
            value, bounds = figures["in_scope_dimension_mae"], figures["interval_95"]
            if value is not None:
                faint = figures["in_scope"] < _FEW_LABELS
                axes.bar(place, value, width=0.62, color=theme.methods[STUDENT], alpha=0.3 if faint else 0.9)
                axes.text(
                    place, value / 25, f"{value:.2f}", ha="center", color=theme.ink if faint else theme.paper,
                    fontsize=8, weight="bold",
                )  # fmt: skip
            if bounds:
                axes.plot([place, place], bounds, color=theme.ink, lw=1.3)
        labels = [f"{part}\n{figures['in_scope']:.0f}" for part, figures in parts.items()]
        axes.set_xticks(range(len(parts)), labels, color=theme.ink)
        axes.set_xlim(-0.6, len(parts) - 0.4)
        axes.set_title(titles.get(group, group))
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
    panels[0].set_ylabel("MAE of dimensions, in scope")
    return figure


PLOTS: dict[str, Plot[Evaluation]] = {
    "overview": Plot(
        "The student between its baselines and its teacher",
        "Each row is a filter. The wide band is the student's 95% interval; the nearer its dot lies to the teacher's "
        "diamond, the less there is left to learn.",
        "Dot plot of average precision at the medium tier and of the error in scope, by filter and method; "
        "the figures are in the tables of each filter.",
        _overview,
    ),
    "precision_recall": Plot(
        "Finding articles of medium and above",
        "How clean the top of the ranking stays as more of the wanted articles are found. The dotted line marks a "
        "precision of one half.",
        "Precision-recall curves at the medium boundary, a panel a filter; average precision and recall at precision "
        "0.5 are in the tables.",
        _precision_recall,
    ),
    "scatter": Plot(
        "Every article: the student's score against the oracle's",
        "On the diagonal they agree. Dashed lines are the medium boundary: upper left are false alarms, lower right "
        "what was missed.",
        "Scatter plots of predicted against true weighted averages, real and synthetic articles apart, a panel a "
        "filter.",
        _scatter,
    ),
    "calibration": Plot(
        "Can a score be taken at its word?",
        "Articles are put in bins by the student's average; on the dotted line a bin's articles score what the student "
        f"said. Small figures are the articles in a bin; hollow points have fewer than {_FEW_ARTICLES}.",
        "Calibration curves, a panel a filter; the bins are in the tables of each filter.",
        _calibration,
    ),
    "groups": Plot(
        "Where errors are larger",
        "The error in scope over the labels of all filters together, with 95% intervals; under each bar how many "
        f"labels it rests on; faint bars have fewer than {_FEW_LABELS}.",
        "Bars of the in-scope error by origin, language, length and stratum; the same figures are in the table below.",
        _groups,
    ),
}
"""Every picture by its file's name, in the order of the page."""


def _grid_figure(evaluation: Evaluation, theme: Theme, horizontal: str, vertical: str) -> Figure:
    rows = ceil(len(evaluation.reports) / _COLUMNS)
    figure = Figure(figsize=(11, 0.7 + 2.85 * rows), layout="constrained")
    figure.supxlabel(horizontal, color=theme.quiet, fontsize=9)
    figure.supylabel(vertical, color=theme.quiet, fontsize=9)
    return figure


def _panels(figure: Figure, evaluation: Evaluation) -> Iterator[tuple[Any, str]]:
    columns = min(_COLUMNS, len(evaluation.reports))
    grid: npt.NDArray[Any] = figure.subplots(
        ceil(len(evaluation.reports) / columns), columns, sharex=True, sharey=True, squeeze=False
    )
    for axes, name in zip(grid.flat, evaluation.reports, strict=False):
        axes.grid()
        yield axes, name
    for axes in grid.flat[len(evaluation.reports) :]:
        axes.set_axis_off()


def _legend(figure: Figure) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
