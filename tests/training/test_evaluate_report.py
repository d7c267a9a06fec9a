"""The page and its plots: complete, self-contained, and the same from one run to the next."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("torch")

from distilled_filters.training.evaluate.gates import Bound, check
from distilled_filters.training.evaluate.plots import PLOTS
from distilled_filters.training.evaluate.report import write_report
from tests.training.evaluations import LENSES, made_up_evaluation, without_teacher
from tests.training.pages import Page


def test_the_report_is_one_page_that_asks_for_nothing(tmp_path: Path) -> None:
    evaluation = made_up_evaluation()
    outcomes = check({"mean": {"average_mae": Bound(at_most=0.0), "ndcg_at_50": Bound(at_least=0.1)}}, evaluation)
    path = write_report(evaluation, outcomes, tmp_path / "report")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert len(page.loads) == 2 * len(PLOTS)
    assert all(source.startswith("data:image/png;base64,") for source in page.loads)
    assert "url(" not in text
    assert all(page.alternatives)
    assert {target.removeprefix("#") for target in page.targets} <= set(page.ids)
    assert "1 of 2 gates fail" in text
    assert "mean of filters: average_mae is" in text
    for name in LENSES:
        value = evaluation.reports[name]["methods"]["student"]["in_scope_dimension_mae"]
        assert f"<summary>{name}<span>" in text
        assert f"{value:.3f}" in text
    for words in ("int8, as shipped against fp32", "90.0", "teacher against itself", "No frozen-encoder head"):
        assert words in text
    for name in PLOTS:
        assert (path.parent / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((path.parent / "evaluation.json").read_text())
    assert document["means"]["student"] == evaluation.means["student"]
    assert [gate["passed"] for gate in document["gates"]] == [False, True]


def test_a_report_without_extras_or_gates_is_whole_too(tmp_path: Path) -> None:
    evaluation = without_teacher(made_up_evaluation())
    for report in evaluation.reports.values():
        report["methods"]["student"]["medium_average_precision"] = None
    text = write_report(evaluation, [], tmp_path).read_text(encoding="utf-8")
    assert Page(text).open == []
    assert not re.search(r'id="(speed|effects)"|gates hold', text)
