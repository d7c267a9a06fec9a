"""Gates: what passes, what fails, and what a file of gates may not say."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("torch")

from distilled_filters.errors import SpecError
from distilled_filters.training.evaluate.gates import Outcome, check, read_gates
from tests.conftest import SHIPPED
from tests.training.evaluations import LENSES, ROOT, made_up_evaluation


def _outcomes(tmp_path: Path, text: str) -> list[Outcome]:
    file = tmp_path / "gates.toml"
    file.write_text(text, encoding="utf-8")
    return check(read_gates(file, LENSES), made_up_evaluation())


def test_gates_that_hold(tmp_path: Path) -> None:
    outcomes = _outcomes(
        tmp_path,
        "[mean]\nmedium_average_precision = {at_least = 0.5, beats_baselines = true}\naverage_mae = {at_most = 2.0}\n"
        "[every]\nin_scope_dimension_mae = {beats_baselines = true}\n"
        "[uplifting]\nmedium_and_above = {at_least = 1.0}\n",
    )
    assert [outcome for outcome in outcomes if not outcome.passed] == []
    # [mean]: a limit and two baselines, a limit; [every]: two baselines for two filters; [uplifting]: a limit.
    assert len(outcomes) == 3 + 1 + 4 + 1


def test_gates_that_fail_name_value_and_bound(tmp_path: Path) -> None:
    (outcome,) = _outcomes(tmp_path, "[belonging]\ntier_agreement = {at_least = 1.0}\n")
    assert not outcome.passed
    assert str(outcome) == f"belonging: tier_agreement is {outcome.value:.4f}; it must be at least 1"
    worse = _outcomes(tmp_path, "[mean]\nin_scope_average_mae = {at_most = 0.001}\n")
    assert "it must be at most 0.001" in str(worse[0])


def test_a_figure_that_is_not_defined_fails(tmp_path: Path) -> None:
    evaluation = made_up_evaluation()
    evaluation.reports["uplifting"]["methods"]["student"]["medium_f1"] = None
    file = tmp_path / "gates.toml"
    file.write_text("[uplifting]\nmedium_f1 = {at_least = 0.1}\n")
    (outcome,) = check(read_gates(file, LENSES), evaluation)
    assert not outcome.passed
    assert "is not defined" in str(outcome)


def test_a_student_that_only_ties_a_baseline_does_not_beat_it(tmp_path: Path) -> None:
    evaluation = made_up_evaluation()
    evaluation.means["tfidf_ridge"]["average_mae"] = evaluation.means["student"]["average_mae"]
    file = tmp_path / "gates.toml"
    file.write_text("[mean]\naverage_mae = {beats_baselines = true}\n")
    failed = [outcome for outcome in check(read_gates(file, LENSES), evaluation) if not outcome.passed]
    assert [outcome.demand.split(", ")[1] for outcome in failed] == ["the tfidf ridge's"]


def test_a_baseline_that_nobody_measured_is_not_beaten(tmp_path: Path) -> None:
    (outcome,) = _outcomes(tmp_path, "[mean]\nworst_language_ratio = {beats_baselines = true}\n")
    assert not outcome.passed
    assert "none defines it" in str(outcome)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[mean]\nmedium_avrage_precision = {at_least = 0.5}\n",
            ["medium_avrage_precision", "medium_average_precision"],
        ),
        ("[uplift]\naverage_mae = {at_most = 1.0}\n", ["'uplift'", "the nearest: uplifting"]),
        ("[mean]\nn = {at_least = 5.0}\n", ["[mean]", "'n'"]),
        ("[mean]\naverage_mae = {}\n", ["mean.average_mae", "demands nothing"]),
        ("[mean]\naverage_mae = {below = 1.0}\n", ["mean.average_mae.below"]),
        ("[mean]\naverage_mae = {at_most = nan}\n", ["mean.average_mae.at_most"]),
        ("[mean\n", ["not readable TOML"]),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as refused:
        _outcomes(tmp_path, text)
    assert [word for word in ["gates.toml", *words] if word not in str(refused.value)] == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        read_gates(tmp_path / "gates.toml", LENSES)


def test_the_shipped_gates_are_in_order() -> None:
    assert read_gates(ROOT / "filters" / "gates.toml", SHIPPED)["mean"]
