"""Exact expectations over all groups of a two-turn stopping task, and the table in docs/ that reports them."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from turnwise.trainers.advantages.dr_grpo import DrGRPO
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.rloo import RLOO
from turnwise.trainers.advantages.trloo import TRLOO
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.kl import k1, k2, k3

SCRIPT = Path(__file__).parents[2] / "docs" / "make_estimators.py"
SPEC = importlib.util.spec_from_file_location("make_estimators", SCRIPT)
assert SPEC is not None and SPEC.loader is not None
table = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = table  # dataclasses look their module up there
SPEC.loader.exec_module(table)

SIZES = pytest.mark.parametrize("n", [2, 3, 4])


def test_the_true_gradient_is_that_of_the_expected_return():
    logits = torch.tensor([table.P_CONTINUE, table.P_RIGHT], dtype=torch.float64).logit().requires_grad_()
    go, right = logits.sigmoid()
    (gradient,) = torch.autograd.grad((1 - go) * table.STOP + go * right * table.RIGHT, logits)
    assert gradient.tolist() == pytest.approx(table.GRADIENT, abs=1e-12)
    assert sum(table.PROBABILITIES) == pytest.approx(1)


@SIZES
@pytest.mark.parametrize(
    "estimator", [RLOO(), TRLOO(), TRLOO(raw_singletons=True), TurnGAE(gamma=1.0), TurnGAE(gamma=1.0, lam=0.3)]
)
def test_unbiased(estimator, n):
    assert table.expectation(estimator, n).ratio == pytest.approx((1, 1), abs=1e-9)


@SIZES
@pytest.mark.parametrize("estimator", [DrGRPO(), GRPO(std=False)])
def test_mean_only_is_exact_up_to_its_scale(estimator, n):
    e = table.expectation(estimator, n)
    assert e.ratio == pytest.approx(((n - 1) / n, (n - 1) / n), abs=1e-9)
    assert e.cosine == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("n", "cosine"), [(2, 0.9927), (3, 0.9899), (4, 0.9907)])
def test_dividing_by_the_spread_bends_the_direction(n, cosine):
    assert table.expectation(GRPO(), n).cosine == pytest.approx(cosine, abs=5e-5)


@SIZES
def test_the_others_end_is_a_quieter_baseline_for_singletons_than_none(n):
    assert table.expectation(TRLOO(), n).spread < table.expectation(TRLOO(raw_singletons=True), n).spread


@SIZES
def test_what_is_not_offered_and_why(n):
    assert table.expectation(table.ended_counts_zero, n).ratio == pytest.approx((1, 1), abs=1e-9)
    assert table.expectation(table.turn_centred_rewards, n).ratio[0] < 0


def test_the_page_is_current():
    page = table.PAGE.read_text(encoding="utf-8")
    assert table.with_tables(page) == page, "stale: run python docs/make_estimators.py"


def test_kl_estimators_by_enumeration_of_three_tokens():
    """Values and gradients in the logits of k1, k2, k3, in expectation over the three tokens (B26)."""
    logits = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).log().requires_grad_()
    reference = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()
    logp = logits.log_softmax(-1)
    p = logp.detach().exp()
    kl = (logp.exp() * (logp - reference)).sum()
    (true,) = torch.autograd.grad(kl, logits, retain_graph=True)
    assert float(kl.detach()) == pytest.approx(0.4982, abs=5e-5)
    assert true.tolist() == pytest.approx([0.3602, -0.1495, -0.2108], abs=5e-5)

    values = [float((p * k(logp, reference)).sum().detach()) for k in (k1, k2, k3)]
    assert values == pytest.approx([0.4982, 0.4916, 0.4982], abs=5e-5)
    gradients = [torch.autograd.grad((p * k(logp, reference)).sum(), logits, retain_graph=True)[0] for k in (k1, k2, k3)]
    assert gradients[0].tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert gradients[1].tolist() == pytest.approx(true.tolist(), abs=1e-12)
    assert gradients[2].tolist() == pytest.approx([0.4, 0, -0.4], abs=1e-12)
