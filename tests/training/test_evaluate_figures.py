"""Figures against values worked out by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.metrics import average_precision_score, cohen_kappa_score, f1_score

from distilled_filters.calibration import Calibration, Intervals
from distilled_filters.training.evaluate.bootstrap import (
    intervals,
    leads,
    redrawn,
    resample,
    share_interval,
)
from distilled_filters.training.evaluate.figures import (
    HEADLINES,
    calibration_curve,
    coverage,
    dimension_figures,
    figures,
    judge,
    means,
)
from distilled_filters.training.evaluate.groups import (
    pooled_groups,
    split_into_groups,
    worst_language_ratio,
)
from tests.training.evaluations import flat, lens

# Medium is 4 and above, high 6: two articles of medium and above, four in scope.
TRUTH = [0.0, 0.0, 2.0, 3.0, 5.0, 8.0]
STUDENT = [0.5, 4.5, 1.0, 3.0, 3.5, 7.0]


def test_figures_worked_out_by_hand() -> None:
    spec = lens()
    measured = figures(flat(STUDENT, spec), flat(TRUTH, spec), spec)
    expected = {
        "n": 6,
        "in_scope": 4,
        "medium_and_above": 2,
        "average_mae": (0.5 + 4.5 + 1 + 0 + 1.5 + 1) / 6,
        "average_rmse": ((0.25 + 20.25 + 1 + 0 + 2.25 + 1) / 6) ** 0.5,
        "in_scope_average_mae": 3.5 / 4,
        "in_scope_dimension_mae": 3.5 / 4,
        "in_scope_spearman": 1.0,
        "tier_agreement": 4 / 6,  # a false alarm, and a medium article taken for a low one
        "medium_average_precision": 0.5 * 1 + 0.5 * 2 / 3,  # found in places 1 and 3
        "medium_recall_at_precision_50": 1.0,
        "medium_recall": 0.5,
        "medium_precision": 0.5,
        "medium_f1": 0.5,
        "medium_recall_at_50": 1.0,
    }
    assert {key: measured[key] for key in expected} == pytest.approx(expected)


def test_figures_agree_with_scikit_learn() -> None:
    spec, chance = lens(), np.random.default_rng(3)
    labels = chance.integers(0, 21, (200, len(spec.dimensions))) / 2 * (chance.random(200) < 0.4)[:, None]
    answers = np.clip(labels + chance.normal(0, 2, labels.shape), 0, 10)
    truth, method = judge(labels, spec), judge(answers, spec)
    measured, dimensions = figures(method, truth, spec), dimension_figures(method, truth, spec)
    positive, found = truth.averages >= 4, method.averages >= 4
    assert measured["medium_average_precision"] == pytest.approx(average_precision_score(positive, method.averages))
    assert measured["scope_average_precision"] == pytest.approx(
        average_precision_score(labels.any(axis=1), method.averages)
    )
    assert measured["medium_f1"] == pytest.approx(f1_score(positive, found))
    first = dimensions[spec.dimension_names[0]]
    assert first["kappa"] == pytest.approx(
        cohen_kappa_score(np.rint(labels[:, 0]).astype(int), np.rint(answers[:, 0]).astype(int), weights="quadratic")
    )
    assert first["rmse"] == pytest.approx(np.sqrt(np.mean((labels[:, 0] - answers[:, 0]) ** 2)))


def test_quadratic_weighted_kappa_by_hand() -> None:
    """One minus the mean squared disagreement over that of independent raters with the same marginals."""
    spec = lens()
    measured = figures(flat([0, 1, 2], spec), flat([0, 1, 1], spec), spec)
    by_chance = np.mean([(a - b) ** 2 for a in (0, 1, 2) for b in (0, 1, 1)])
    assert measured["average_kappa"] == pytest.approx(1 - (1 / 3) / by_chance)


def test_ndcg_by_hand() -> None:
    spec = lens()
    measured = figures(flat([1.0, 3.0, 2.0], spec), flat([6.0, 3.0, 0.0], spec), spec)
    gained, ideal = 3 / np.log2(2) + 6 / np.log2(4), 6 / np.log2(2) + 3 / np.log2(3)
    assert measured["ndcg_at_50"] == pytest.approx(gained / ideal)


def test_recall_at_50_gives_ties_their_share() -> None:
    """A method that ranks nothing finds what chance would: the top 50 of 100 hold half of the positives."""
    spec = lens()
    truth = flat([8.0] * 4 + [0.0] * 96, spec)
    assert figures(flat([1.0] * 100, spec), truth, spec)["medium_recall_at_50"] == pytest.approx(0.5)
    ranked = flat([9.0, 9.0] + [1.0] * 98, spec)
    assert figures(ranked, truth, spec)["medium_recall_at_50"] == pytest.approx((2 + 2 * 48 / 98) / 4)


def test_what_a_set_cannot_define_is_none() -> None:
    spec = lens()
    measured = figures(flat([0.0, 0.0], spec), flat([0.0, 0.0], spec), spec)
    undefined = {key for key, value in measured.items() if value is None}
    assert undefined == {
        "average_spearman", "average_kappa", "in_scope_average_mae", "in_scope_dimension_mae", "in_scope_spearman",
        "medium_average_precision", "medium_recall_at_precision_50", "medium_recall", "medium_precision", "medium_f1",
        "ndcg_at_50", "medium_recall_at_50", "scope_average_precision",
    }  # fmt: skip
    assert means([{"n": 1.0, "medium_f1": None}, {"n": 1.0, "medium_f1": 0.5}]) == {"medium_f1": 0.5}


def test_the_boundary_and_the_gate_are_the_specs() -> None:
    """Weak evidence caps the average at 3, so that a high article is no longer of medium and above."""
    spec = lens(gate=True)
    labels = np.full((1, len(spec.dimensions)), 8.0)
    labels[0, spec.dimension_names.index("evidence_level")] = 1.0
    assert judge(labels, spec).averages[0] == 3.0
    assert figures(judge(labels, spec), judge(labels, spec), spec)["medium_and_above"] == 0


def test_the_calibration_curve_means_over_bins() -> None:
    spec = lens()
    curve = calibration_curve(flat([0.1, 0.2, 4.5], spec), flat([0.0, 1.0, 5.0], spec))
    assert [(each["from"], each["to"], each["n"]) for each in curve] == [(0.0, 0.5, 2), (4.0, 5.0, 1)]
    assert [each["predicted"] for each in curve] == pytest.approx([0.15, 4.5])
    assert [each["true"] for each in curve] == pytest.approx([0.5, 5.0])


def test_coverage_counts_what_the_interval_holds() -> None:
    spec = lens()
    table = Calibration(
        head_sha256="", dimensions={}, intervals=Intervals(coverage=0.9, edges=[2.0], half_widths=[0.5, 1.0])
    )
    measured = coverage([table] * 4, flat([0.4, 1.0, 5.0, 6.0], spec), flat([0.0, 2.0, 5.9, 8.0], spec))
    assert measured == pytest.approx(
        {"stated": 0.9, "measured": 2 / 4, "measured_in_scope": 1 / 3, "mean_width": (0.9 + 1.0 + 2.0 + 2.0) / 4}
    )


def test_near_duplicates_are_resampled_together() -> None:
    counts = resample(["a", "b", "a", "c"], draws=50)
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert len(np.unique(counts, axis=0)) > 5
    assert (resample(["a", "b", "a", "c"], draws=50) == counts).all()


def test_intervals_hold_the_figure_and_leads_tell_better_from_worse() -> None:
    spec, chance = lens(), np.random.default_rng(5)
    truth = flat(list(np.where(chance.random(150) < 0.4, chance.uniform(1, 9, 150), 0)), spec)
    near, far = (
        judge(np.clip(truth.dimensions + chance.normal(0, spread, (150, 1)), 0, 10), spec) for spread in (0.5, 3)
    )
    counts = resample([str(index) for index in range(150)], draws=60)
    measured = figures(near, truth, spec)
    drawn, other = (redrawn(each, truth, spec, counts, HEADLINES) for each in (near, far))
    assert set(intervals(drawn)) == set(HEADLINES)
    for key, (low, high) in intervals(drawn).items():
        assert low <= (measured[key] or 0) <= high, key
    # An error that shrinks is a lead too.
    lead = ("medium_average_precision", "in_scope_dimension_mae")
    assert all(low > 0 for low, _ in leads(drawn, {key: other[key] for key in lead}).values())
    assert all(high < 0 for _, high in leads(other, {key: drawn[key] for key in lead}).values())
    assert share_interval(np.zeros(150), np.zeros(150), counts) is None


def test_groups_pool_labels_of_all_filters() -> None:
    spec = lens()
    truths = {"a": flat([2.0, 0.0, 4.0], spec), "b": flat([0.0, 6.0, 4.0], spec)}
    answers = {"a": flat([3.0, 9.0, 4.0], spec), "b": flat([9.0, 4.0, 1.0], spec)}
    groups = {"language": {"en": np.array([True, False, False]), "nl": np.array([False, True, True])}}
    pooled = pooled_groups(groups, answers, truths, resample(["x", "y", "z"], draws=5))
    english, dutch = pooled["language"]["en"], pooled["language"]["nl"]
    assert (english["in_scope"], english["in_scope_dimension_mae"]) == (1, pytest.approx(1.0))
    assert (dutch["in_scope"], dutch["in_scope_dimension_mae"]) == (3, pytest.approx((0 + 2 + 3) / 3))
    assert worst_language_ratio(pooled) == pytest.approx(5 / 3)


def test_articles_are_grouped_by_length_and_origin() -> None:
    from distilled_filters.preprocess import Window
    from distilled_filters.result import TokenUse
    from distilled_filters.training.data import Example

    def example(tokens: int, stratum: str) -> Example:
        window = Window(
            np.zeros(1, dtype=np.int64), TokenUse(total=tokens, read=1, truncated=True), np.zeros(0, np.int32)
        )
        return Example("i", "test", stratum, "nl", "c", "text", window, {})

    rows = [(128, "natural"), (129, "synthetic"), (256, "enriched"), (512, "natural"), (513, "natural")]
    groups = split_into_groups([example(*row) for row in rows])
    assert {part: members.tolist().index(True) for part, members in groups["length"].items()} == {
        "1-128": 0, "129-256": 1, "257-512": 3, "513+": 4,
    }  # fmt: skip
    assert groups["origin"]["synthetic"].tolist() == [False, True, False, False, False]
    assert set(groups["stratum"]) == {"natural", "enriched"}
