"""An assessment as a page for people, one HTML file that asks for nothing else, and as JSON for programs."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup, escape

from distilled_filters.files import write_json, write_text
from distilled_filters.training.pages import pictures, templates
from distilled_filters.training.readiness.answers import GUIDE, QUESTIONS
from distilled_filters.training.readiness.assessment import Assessment
from distilled_filters.training.readiness.limits import ENOUGH, OF_SECTION, PREMATURE
from distilled_filters.training.readiness.plots import plots_of

__all__ = ["MEANING", "write_report"]

MEANING = {
    "justified": "Train: need, data and means are there.",
    "needs evaluation": "Train what there is, to learn from its errors; do not rely on the result yet.",
    "premature": "Do not train yet. What is missing comes first.",
}
"""What each verdict asks for."""


def write_report(assessment: Assessment, folder: Path) -> Path:
    """Write `index.html`, `plots/*.png` and `readiness.json`; return the page's path. No article's text is in them."""
    facts = assessment.facts
    environment = templates(__package__)
    environment.filters["code"] = _code
    page = environment.get_template("report.html").render(
        facts=facts, answers=assessment.answers, checks=assessment.checks, judgement=assessment.judgement,
        meaning=MEANING[assessment.judgement.verdict], guide=GUIDE, questions=QUESTIONS,
        pictures=pictures(plots_of(facts), facts, folder / "plots"),
        enough=ENOUGH, of_section=OF_SECTION, premature=PREMATURE,
    )  # fmt: skip
    write_json(folder / "readiness.json", assessment.document())
    write_text(folder / "index.html", page)
    return folder / "index.html"


def _code(text: str) -> Markup:
    """Return text as HTML, what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
