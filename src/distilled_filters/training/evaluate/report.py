"""An evaluation as a page for people: one HTML file that asks for nothing else, and its plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distilled_filters.files import write_json, write_text
from distilled_filters.training.evaluate.bootstrap import DRAWS
from distilled_filters.training.evaluate.figures import COUNTS, FIGURES, HEADLINES, lower_is_better
from distilled_filters.training.evaluate.gates import Outcome
from distilled_filters.training.evaluate.measure import BASELINES, STUDENT, TEACHER, Evaluation
from distilled_filters.training.evaluate.plots import PLOTS
from distilled_filters.training.pages import number, pictures, templates

__all__ = ["EFFECTS", "write_report"]

EFFECTS = {"fp32": ("int8, as shipped", "fp32"), "head_only": ("head and tail, as shipped", "head alone")}
"""What each effect compares, by its name in `metrics.json`."""

_METHODS = {
    STUDENT: "this student",
    TEACHER: "teacher against itself",
    "frozen_head": "frozen encoder, new head",
    "tfidf_ridge": "TF-IDF ridge",
    "mean_predictor": "mean predictor",
}


def write_report(evaluation: Evaluation, outcomes: Sequence[Outcome], folder: Path) -> Path:
    """Write `index.html`, `plots/*.png` and `evaluation.json`; return the page's path. No article's text is in them."""
    page = templates(__package__).get_template("report.html").render(
        evaluation=evaluation, outcomes=outcomes, pictures=pictures(PLOTS, evaluation, folder / "plots"),
        sentences=_sentences(evaluation), methods={name: _METHODS[name] for name in evaluation.methods},
        figures=FIGURES, headlines=HEADLINES, counts=COUNTS, effects=EFFECTS, draws=DRAWS, student=STUDENT,
        lower_is_better=lower_is_better,
    )  # fmt: skip
    write_json(folder / "evaluation.json", evaluation.document() | {"gates": [vars(outcome) for outcome in outcomes]})
    write_text(folder / "index.html", page)
    return folder / "index.html"


def _sentences(evaluation: Evaluation) -> list[str]:
    """Say in words what the figures come to."""
    means, reports = evaluation.means, evaluation.reports
    student = means[STUDENT]
    precision, recall = student["medium_average_precision"], student["medium_recall_at_precision_50"]
    said = []
    others = [
        f"{_METHODS[name]} {number(means[name]['medium_average_precision'], 2)}"
        for name in evaluation.methods
        if name != STUDENT
    ]
    if precision is not None:
        said.append(
            f"Ranking articles of medium and above, the student reaches an average precision of {precision:.2f} in the "
            f"mean of {len(reports)} filters ({'; '.join(others)})."
        )
    if recall is not None:
        said.append(
            f"Where half of what it names may be wrong, it finds {recall:.0%} of the articles of medium and above."
        )
    said.append(
        f"Its weighted average is off by {number(student['average_mae'], 2)} over all articles, most of which score "
        f"0, and by {number(student['in_scope_average_mae'], 2)} over those in scope."
    )
    said += _extremes(reports)
    said += _unsure_leads(reports)
    covered = [report["interval_coverage"] for report in reports.values()]
    inside = [each["measured_in_scope"] for each in covered if each["measured_in_scope"] is not None]
    if inside:
        stated, everywhere = covered[0]["stated"], sum(each["measured"] for each in covered) / len(covered)
        said.append(
            f"Intervals that state {stated:.0%} hold the oracle's average for {everywhere:.0%} of all articles, and "
            f"for {sum(inside) / len(inside):.0%} of those in scope."
        )
    return said


def _extremes(reports: dict[str, dict[str, Any]]) -> list[str]:
    ranked = sorted(
        (value, name)
        for name, report in reports.items()
        if (value := report["methods"][STUDENT]["medium_average_precision"]) is not None
    )
    if len(ranked) < 2:
        return []
    (low, worst), (high, best) = ranked[0], ranked[-1]
    return [f"By average precision the best filter is {best} ({high:.2f}), the weakest {worst} ({low:.2f})."]


def _unsure_leads(reports: dict[str, dict[str, Any]]) -> list[str]:
    """Name the filters whose lead over the best baseline could be chance."""
    unsure = []
    for name, report in reports.items():
        leads = [report["leads_95"].get(each, {}).get("medium_average_precision") for each in BASELINES]
        if any(bounds and bounds[0] <= 0 for bounds in leads):
            unsure.append(name)
    if not unsure:
        return ["Every filter's lead in average precision over every baseline is more than chance (95% intervals)."]
    return [f"For {', '.join(unsure)} the lead in average precision over some baseline may be chance (95% intervals)."]
