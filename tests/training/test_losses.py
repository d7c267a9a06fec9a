"""Every loss against a value worked out by hand, and the direction it pushes in."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from distilled_filters.training.distil import distillation  # noqa: E402
from distilled_filters.training.losses import REGRESSION, listmle, margin_ranking, triplet  # noqa: E402

NOTHING = torch.zeros(0)


def _gradient(loss: Callable[[Tensor], Tensor], values: list[float]) -> list[float]:
    leaf = torch.tensor(values, requires_grad=True)
    loss(leaf).backward()
    gradient: list[float] = leaf.grad.tolist()
    return gradient


def test_huber_is_quadratic_near_and_linear_far() -> None:
    found = REGRESSION["huber"](torch.tensor([0.05, 0.5]), torch.tensor([0.0, 0.0]))
    # beta is 0.1: 0.05² / (2 beta), and 0.5 - beta / 2.
    torch.testing.assert_close(found, torch.tensor([0.0125, 0.45]))
    near, far = _gradient(lambda x: REGRESSION["huber"](x, torch.zeros(2)).sum(), [0.05, 0.5])
    assert (near, far) == pytest.approx((0.5, 1.0))


def test_mse_is_the_squared_distance() -> None:
    found = REGRESSION["mse"](torch.tensor([0.25, 0.5]), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(found, torch.tensor([0.0625, 0.25]))
    assert _gradient(lambda x: REGRESSION["mse"](x, torch.tensor([0.0, 1.0])).sum(), [0.25, 0.5]) == [0.5, -1.0]


def test_margin_ranking_counts_the_pairs_that_the_oracle_puts_apart() -> None:
    target = torch.tensor([0.8, 0.3, 0.25])
    predicted = [0.40, 0.35, 0.60]
    # Pairs (0, 1): 0.1 - 0.05; (0, 2): 0.1 + 0.20; 1 and 2 are as good as tied.
    found = margin_ranking(torch.tensor(predicted), target, NOTHING)
    assert float(found) == pytest.approx((0.05 + 0.30) / 2)
    gradient = _gradient(lambda x: margin_ranking(x, target, NOTHING), predicted)
    assert gradient == pytest.approx([-1.0, 0.5, 0.5])
    assert float(margin_ranking(torch.tensor([0.9, 0.2, 0.2]), target, NOTHING)) == 0


def test_listmle_is_the_likelihood_of_the_oracles_order() -> None:
    target = torch.tensor([0.0, 0.9, 0.5, 0.0])
    predicted = [0.1, 0.2, 0.3, 0.0]
    # In units of the temperature, 0.1: the first choice is among all four, the second among the other three.
    first = math.log(sum(map(math.exp, [1, 2, 3, 0]))) - 2
    second = math.log(sum(map(math.exp, [1, 3, 0]))) - 3
    found = listmle(torch.tensor(predicted), target, NOTHING)
    assert float(found) == pytest.approx((first + second) / 2, rel=1e-5)
    gradient = _gradient(lambda x: listmle(x, target, NOTHING), predicted)
    assert gradient[1] < 0 < gradient[0]
    assert gradient[3] > 0


def test_triplet_pulls_the_scope_together_and_the_rest_away() -> None:
    target = torch.tensor([0.5, 0.4, 0.0, 0.0])
    points = torch.tensor([[0.0], [3.0], [5.0], [9.0]], requires_grad=True)
    # From 0: furthest inside 3, nearest outside 5, more than the margin of 1 apart; from 3: 3 and 2.
    loss = triplet(torch.zeros(4), target, points)
    assert float(loss.detach()) == pytest.approx((0 + (3 - 2 + 1)) / 2)
    loss.backward()
    # Down the gradient the two inside meet, the near outsider leaves, and the far one is left alone.
    assert points.grad.flatten().tolist() == pytest.approx([-0.5, 1.0, -0.5, 0.0])


@pytest.mark.parametrize("loss", [margin_ranking, listmle, triplet])
def test_a_batch_with_nothing_to_rank_costs_nothing(loss: Callable[..., Tensor]) -> None:
    predicted = torch.zeros(3, requires_grad=True)
    found = loss(predicted, torch.zeros(3), torch.randn(3, 2))
    found.backward()
    assert float(found.detach()) == 0
    assert predicted.grad.tolist() == [0, 0, 0]


def test_distillation_is_zero_at_the_teachers_answers_and_leads_there() -> None:
    rows = {"lens": slice(0, 2)}
    # P(scope) of 1/2 is the logit 0; a gated 3 is a score of 6 in scope, 0.6 on the student's scale.
    teacher = torch.tensor([[0.5, 3.0]])
    assert float(distillation(torch.tensor([[0.0, 0.6]]), teacher, rows)) == pytest.approx(0, abs=1e-6)
    logits = torch.tensor([[math.log(3), 0.8]], requires_grad=True)
    # P is 3/4: the divergence of 1/2 from it is -log(4 · 3/4 · 1/4) / 2; the expected score is 0.3 too high, and
    # the one in scope 0.2.
    loss = distillation(logits, teacher, rows)
    assert float(loss.detach()) == pytest.approx(
        -math.log(4 * 3 / 16) / 2 + 3 * (0.3 - 0.05) + 3 * (0.2 - 0.05), rel=1e-5
    )
    loss.backward()
    assert (logits.grad > 0).all()
