"""Pictures of labelled articles: what is there, what is rare, and what says the same twice."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from distilled_filters.training.pages import Plot, Theme
from distilled_filters.training.readiness.facts import Facts
from distilled_filters.training.readiness.limits import ALIKE

__all__ = ["plots_of"]

_COLUMNS = 4
_MOST_SOURCES = 8
# Bars keep their height where there are few.
_ROWS = 6
_BINS = 10
_LONGEST = 0.99
_AGREE = 0.96


def plots_of(facts: Facts) -> dict[str, Plot[Facts]]:
    """Return the plots that the facts can fill, by their file's name, in the order of the page."""
    found = {"scores": _SCORES, "origin": _ORIGIN, "lengths": _LENGTHS}
    if any(lens.redundancy for lens in facts.lenses):
        found["dimensions"] = _DIMENSIONS
    if any(lens.agreement for lens in facts.lenses):
        found["noise"] = _NOISE
    if facts.curve:
        found["curve"] = _CURVE
    return found


def _scores(facts: Facts, theme: Theme) -> Figure:
    figure = _grid_figure(len(facts.lenses), theme, 2.3)
    figure.supxlabel("weighted average of articles in scope", color=theme.quiet, fontsize=9)
    figure.supylabel("articles, by powers of ten", color=theme.quiet, fontsize=9)
    most = max(max(lens.histogram) for lens in facts.lenses)
    for axes, lens in zip(_panels(figure, len(facts.lenses), shared=True), facts.lenses, strict=True):
        for place, count in enumerate(lens.histogram):
            colour = theme.methods["student"] if place + 1 > lens.medium else theme.methods["mean_predictor"]
            if count:
                axes.bar(place + 0.5, count, width=0.86, color=colour)
                axes.text(place + 0.5, count * 1.12, f"{count:,}", ha="center", fontsize=7, color=theme.quiet)
        axes.axvline(lens.medium, color=theme.accent, lw=1, ls=(0, (3, 3)))
        axes.set_yscale("log")
        axes.set(xlim=(0, _BINS), ylim=(0.7, max(most, 10) * 2.2), xticks=range(0, _BINS + 1, 2))
        axes.set_title(f"{_label(lens.name)}\n")
        axes.text(0, 1.03, f"{lens.reaching['all']:,} of {lens.labelled:,} reach medium", transform=axes.transAxes,
                  color=theme.quiet, fontsize=8.5)  # fmt: skip
        axes.grid(axis="y")
    return figure


def _origin(facts: Facts, theme: Theme) -> Figure:
    sources = list(facts.sources.items())
    rest = sum(count for _, count in sources[_MOST_SOURCES:])
    panels = {
        "language": facts.languages,
        "stratum: how they were chosen": facts.strata,
        "source": dict(sources[:_MOST_SOURCES]) | ({f"{len(sources) - _MOST_SOURCES:,} others": rest} if rest else {}),
        "split": facts.splits or {"none stated": facts.labelled},
    }
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    for axes, (title, counts) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        names = list(reversed(counts))
        values = [counts[name] for name in names]
        axes.barh(range(len(names)), values, height=0.62, color=theme.methods["student"], alpha=0.9)
        for place, value in enumerate(values):
            axes.text(value, place, f" {value:,}", va="center", fontsize=7.5, color=theme.quiet)
        axes.set_yticks(range(len(names)), [_shortened(name) for name in names], color=theme.ink)
        axes.set_xticks([])
        axes.set(xlim=(0, max(values) * 1.3), ylim=(len(names) - max(_ROWS, len(names)) - 0.5, len(names) - 0.5))
        axes.spines["bottom"].set_visible(False)
        axes.set_title(title)
    return figure


def _lengths(facts: Facts, theme: Theme) -> Figure:
    tokens = np.array(facts.tokens)
    longest = max(float(np.quantile(tokens, _LONGEST)), facts.window * 1.5)
    edge = facts.window + 0.5
    bins = [*np.geomspace(max(1, min(tokens.min(), facts.window / 10)), edge, 25), *np.geomspace(edge, longest, 25)[1:]]
    figure = Figure(figsize=(11, 2.5), layout="constrained")
    axes = figure.subplots()
    for members, colour, label in (
        (tokens <= facts.window, theme.methods["student"], "read whole"),
        (tokens > facts.window, theme.methods["mean_predictor"], "head and tail read"),
    ):
        axes.hist(
            np.minimum(tokens[members], longest),
            bins=bins,
            color=colour,
            label=f"{label}: {members.mean():.0%}",
        )
    axes.axvline(facts.window, color=theme.accent, lw=1, ls=(0, (3, 3)))
    axes.set_xscale("log")
    ticks = [tick for tick in (10, 30, 100, 300, 1000, 3000, 10_000, 30_000) if bins[0] <= tick <= longest]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="tokens", ylabel="articles")
    axes.grid(axis="y")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def _dimensions(facts: Facts, theme: Theme) -> Figure:
    lenses = [(lens.name, lens.redundancy) for lens in facts.lenses if lens.redundancy]
    figure = _grid_figure(len(lenses), theme, 2.9, columns=3)
    ramp = LinearSegmentedColormap.from_list("alike", [theme.paper, theme.methods["student"]])
    for axes, (name, found) in zip(_panels(figure, len(lenses), shared=False, columns=3), lenses, strict=True):
        size = len(found.dimensions)
        axes.imshow(np.abs(found.correlations), vmin=0, vmax=1, cmap=ramp)
        for row in range(size):
            for column in range(size):
                value = found.correlations[row][column]
                if row != column:
                    axes.text(column, row, f"{value:.2f}".replace("0.", "."), ha="center", va="center", fontsize=7,
                              color=theme.paper if abs(value) > 0.6 else theme.ink)  # fmt: skip
        axes.set_xticks(range(size), [])
        axes.set_yticks(range(size), [_shortened(_label(each), 26) for each in found.dimensions], fontsize=7.5)
        axes.spines[:].set_visible(False)
        axes.set_title(f"{_label(name)}\n")
        strong = found.first_component >= ALIKE
        axes.text(0, 1.03, f"first component {found.first_component:.0%}", transform=axes.transAxes, fontsize=8.5,
                  color=theme.accent if strong else theme.quiet)  # fmt: skip
    return figure


def _noise(facts: Facts, theme: Theme) -> Figure:
    lenses = [(lens, lens.agreement) for lens in reversed(facts.lenses) if lens.agreement]
    figure = Figure(figsize=(11, 1.5 + 0.36 * len(lenses)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for row, (lens, agreement) in enumerate(lenses):
        left.plot(agreement["tier_agreement"], row, "D", color=theme.methods["teacher"], ms=7)
        errors = {
            each: value
            for each, figures in (
                ("student", lens.release.student), ("teacher", lens.release.teacher),
                ("tfidf_ridge", lens.release.baseline),
            )
            if (value := figures.get("in_scope_dimension_mae")) is not None
        }  # fmt: skip
        if errors:
            right.plot([min(errors.values()), max(errors.values())], [row, row], color=theme.grid, lw=2.5, zorder=1)
        for each, value in errors.items():
            right.plot(value, row, {"student": "o", "teacher": "D", "tfidf_ridge": "s"}[each], ms=7,
                       color=theme.methods[each], label=_METHODS[each] if row == 0 else None)  # fmt: skip
    left.set_yticks(range(len(lenses)), [_label(lens.name) for lens, _ in lenses], color=theme.ink)
    left.set_title("readings of one article that agree on its tier")
    left.set_xlim(min(_AGREE, *(each["tier_agreement"] for _, each in lenses)) - 0.005, 1.001)
    left.xaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
    right.set_title("error of dimensions in scope, released version")
    right.set_xlim(left=0)
    for axes in (left, right):
        axes.grid(axis="x")
        axes.spines[["left", "bottom"]].set_visible(False)
    handles, labels = right.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower right", ncols=len(labels))
    return figure


def _curve(facts: Facts, theme: Theme) -> Figure:
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    titles = {
        "medium_average_precision": "average precision, medium+",
        "scope_average_precision": "average precision, scope",
        "in_scope_dimension_mae": "MAE of dimensions, in scope",
    }
    sizes = [point.articles for point in facts.curve]
    for axes, (key, title) in zip(figure.subplots(1, len(titles)), titles.items(), strict=True):
        if key == "medium_average_precision":
            for lens in facts.lenses:
                axes.plot(sizes, _floats([point.lenses[lens.name] for point in facts.curve]), color=theme.quiet, lw=0.8,
                          alpha=0.5)  # fmt: skip
        values = _floats([point.figures[key] for point in facts.curve])
        axes.plot(sizes, values, "o-", color=theme.methods["student"], lw=2.2)
        for size, value in zip(sizes, values, strict=True):
            axes.annotate(f"{value:.2f}", (size, value), xytext=(0, 8), textcoords="offset points", ha="center",
                          fontsize=8, color=theme.ink)  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_title(title)
        axes.margins(x=0.12, y=0.2)
        axes.grid(axis="y")
        axes.set_xlabel("labelled training articles")
    return figure


_METHODS = {"student": "student", "teacher": "oracle against itself", "tfidf_ridge": "TF-IDF ridge"}

_SCORES = Plot(
    "What the labels say",
    "Articles in scope by their weighted average, the few strong ones made visible by powers of ten. Coloured bars "
    "reach the medium tier (dashed line); where they are missing, a student has nothing to learn from.",
    "Histograms of weighted averages, a panel a lens; the counts of tiers are in the checks.",
    _scores,
)
_ORIGIN = Plot(
    "Where the articles come from",
    "Labelled articles by language, by how they were chosen, by source and by split. A student learns whatever goes "
    "with the lens: also a source, or a language.",
    "Bars of labelled articles by language, stratum, source and split; the same counts are in readiness.json.",
    _origin,
)
_LENGTHS = Plot(
    "How much of an article a student reads",
    "The length of each article beside the window (dashed line). Of longer ones the head and the tail are read.",
    "Histogram of article lengths in tokens.",
    _lengths,
)
_DIMENSIONS = Plot(
    "Do the dimensions say different things?",
    "Correlations of dimensions over articles in scope; the darker, the more alike. Where one component holds "
    f"{ALIKE:.0%} of the variance, the dimensions are one question asked several times.",
    "Correlation matrices of the dimensions, a panel a lens; all values are in readiness.json.",
    _dimensions,
)
_NOISE = Plot(
    "How sure is the oracle, and how near is a student?",
    "On the left, how often two readings agree. On the right, the oracle's own error (diamond) is the best that any "
    "student can reach: stop training where the student's dot meets it.",
    "Dot plots of self-agreement and of errors by lens; the figures are in the table of lenses.",
    _noise,
)
_CURVE = Plot(
    "Would more labels help?",
    "TF-IDF ridge on growing shares of the training articles, judged on validation; the mean of three draws. The thin "
    "lines are single lenses. Where the line still rises, more labels of this kind help.",
    "Learning curves of three figures; the values are written beside the points.",
    _curve,
)


def _grid_figure(panels: int, theme: Theme, height: float, columns: int = _COLUMNS) -> Figure:
    return Figure(figsize=(11, 0.7 + height * ceil(panels / columns)), layout="constrained", facecolor=theme.paper)


def _panels(figure: Figure, count: int, *, shared: bool, columns: int = _COLUMNS) -> list[Any]:
    columns = min(columns, count)
    grid = figure.subplots(ceil(count / columns), columns, sharex=shared, sharey=shared, squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return list(grid.flat[:count])


def _floats(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _label(name: str) -> str:
    return name.replace("_", " ")


def _shortened(text: str, length: int = 22) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
