"""The conformance table: every number a literal here, closed forms where there are any, and no estimator without a row."""

import importlib.util
import sys
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path

import pytest
import torch

from turnwise.registry import names
from turnwise.trainers.advantages.dr_grpo import DrGRPO
from turnwise.trainers.advantages.gigpo import GiGPO
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.rloo import RLOO
from turnwise.trainers.advantages.tree import Tree
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.batch import Batch
from turnwise.trainers.conformance import GRID, Game, behaviour, fog, measure, sign_flips, stop_continue, toll

SCRIPT = Path(__file__).parents[2] / "docs" / "make_conformance.py"
SPEC = importlib.util.spec_from_file_location("make_conformance", SCRIPT)
assert SPEC is not None and SPEC.loader is not None
table = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = table  # dataclasses look their module up there
SPEC.loader.exec_module(table)

# Ratios E[g] / truth in stop or continue, rewards along the way, drawn observations, forks, failures; wrong signs of 414;
# group of one | equal returns | groups apart | a row per turn.
EXPECTED: dict[str, tuple[tuple[tuple[float, ...], ...], int, str]] = {
    "rloo": (
        ((1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (0.8750, 1.0000), (1.0000, 1.0000)),
        0,
        "0|0|yes|refused",
    ),
    "trloo": (
        ((1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (0.8750, 1.0000), (1.0000, 1.0000)),
        0,
        "0|0 for twins|yes|refused",
    ),
    "tree": (
        ((1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000), (1.0000, 1.0000)),
        0,
        "0|0|yes|refused",
    ),
    "turn_gae, exact critic": (
        ((1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000), (1.0000, 1.0000)),
        0,
        "not 0|not 0|yes|same",
    ),
    "bilevel_gae, exact critic": (
        ((1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000), (1.0000, 1.0000)),
        0,
        "not 0|not 0|yes|refused",
    ),
    "token_gae, exact critic": (
        ((1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000), (1.0000, 1.0000)),
        0,
        "not 0|not 0|yes|refused",
    ),
    "dr_grpo": (
        ((0.6667, 0.6667), (0.6667, 0.6667, 0.6667), (0.6667, 0.6667, 0.6667), (0.5000, 0.6389), (0.5833, 0.5833)),
        0,
        "0|0|yes|refused",
    ),
    "gigpo": (
        ((2.0000, 1.7500), (2.0000, 1.7500, 1.3600), (2.0000, 1.7500, 1.7500), (2.0000, 1.8333), (2.0000, 1.6250)),
        0,
        "0|0 for twins|yes|refused",
    ),
    "gigpo, leave_one_out = false": (
        ((1.3333, 1.0833), (1.3333, 1.0833, 0.8533), (1.3333, 1.0833, 1.0833), (1.0000, 1.1389), (1.1667, 0.9167)),
        0,
        "0|0 for twins|yes|refused",
    ),
    "gigpo, leave_one_out = false, std = true": (
        ((4.6188, 2.2969), (7.5504, 2.7013, 1.2345), (1.3353, 2.0774, 4.0678), (2.9873, 2.1519), (3.7236, 1.8556)),
        12,
        "0|0 for twins|yes|refused",
    ),
    "grpo, std = false": (
        ((0.6667, 0.6667), (0.6667, 0.6667, 0.6667), (0.6667, 0.6667, 0.6667), (0.5000, 0.6389), (0.5833, 0.5833)),
        0,
        "0|0|yes|refused",
    ),
    "grpo": (
        ((2.3094, 1.6547), (3.7752, 1.3142, 0.6895), (0.6677, 1.4352, 1.9271), (1.5731, 1.3388), (1.8618, 1.3577)),
        12,
        "0|0|yes|refused",
    ),
    "tree, credit = soft": (
        ((2.3094, 1.6547), (3.7752, 1.3142, 0.6895), (0.6677, 1.4352, 1.9271), (1.5731, 1.3388), (1.8618, 1.3577)),
        12,
        "0|0|yes|refused",
    ),
    "tree, credit = hard": (
        ((2.3094, 1.6547), (3.7752, 1.3142, 0.6895), (0.6677, 1.4352, 1.9271), (1.5731, 1.3388), (1.8618, 1.3577)),
        12,
        "0|0|yes|refused",
    ),
    "reinforce_pp": (
        ((2.6407, 1.4794), (3.2866, 2.8630, 1.8351), (-0.0601, 1.4578, 2.1299), (1.8687, 1.3287), (2.1864, 1.2449)),
        10,
        "not 0|not 0|no|same",
    ),
    "reinforce_pp, baseline = group": (
        ((2.6407, 1.4794), (4.1643, 1.3217, 0.7531), (0.7465, 1.6046, 2.1546), (1.8687, 1.3287), (2.1864, 1.2449)),
        22,
        "not 0|0|no|refused",
    ),
    "istar, weight = 0": (
        ((1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (0.8750, 1.0000), (1.0000, 1.0000)),
        0,
        "0|0|yes|refused",
    ),
    "istar": (
        ((1.4663, 1.1000), (1.3468, 1.2150, 1.2000), (1.5105, 1.1000, 1.3333), (1.2854, 1.1000), (1.4456, 1.1000)),
        6,
        "0|0|yes|refused",
    ),
    "rlvmr, no tags": (
        ((1.4142, 1.0133), (2.3118, 0.8048, 0.4223), (0.4089, 0.8789, 1.1801), (1.0303, 0.8422), (1.2071, 0.8816)),
        12,
        "0|0|yes|refused",
    ),
    "mt_grpo": (
        ((2.3086, 1.6543), (0.4139, 1.4859, 2.8193), (-4.2695, 1.3328, 2.0833), (1.5726, 1.3385), (1.8612, 1.3573)),
        58,
        "0|0 for twins|yes|refused",
    ),
    "igpo": (
        ((2.8284, 2.0266), (-3.6066, -0.8837, 3.4545), (-5.2415, 1.6327, 2.5527), (2.0607, 1.6844), (2.4142, 1.7633)),
        120,
        "0|0 for twins|yes|refused",
    ),
    "igpo, together = true": (
        ((-2.4750, 2.0497), (-4.9920, 1.6651, 5.9023), (0.4416, 1.8576, 3.5839), (-2.7739, 1.8049), (-2.2982, 1.9138)),
        109,
        "0|not 0|yes|refused",
    ),
    "digirl, exact critic": (
        ((-0.5000, 1.0000), (-1.1464, 0.2444, 1.0000), (1.2632, 1.0000, 1.0000), (-0.5000, 1.0000), (-0.5000, 1.0000)),
        97,
        "not 0|not 0|yes|same",
    ),
}
# Stop or continue, rewards along the way, drawn observations, wordy.
TRANSFORMED: dict[str, tuple[tuple[float, ...], ...]] = {
    "empg": ((0.8938, 1.4470), (0.7252, 0.6617, 1.5409), (0.7431, 1.6173, 1.1066), (0.8938, 1.4470)),
    "empg, zeta = 0": ((0.6844, 1.4470), (0.6277, 0.5512, 1.5409), (0.6937, 1.6173, 1.1066), (0.6844, 1.4470)),
    "entropy_aware": ((1.1394, 0.7409), (1.1391, 1.0406, 0.6217), (1.1486, 0.7049, 0.9653), (1.2034, 0.7199)),
    "duration_aware": ((0.7212, 0.8218), (0.9459, 1.2013, 1.3501), (0.9335, 1.0256, 0.4428), (0.7212, 0.8218)),
    "length_free": ((1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.0000, 1.0000, 1.0000), (1.7183, 1.5875)),
    "positive_only": ((1.1563, 0.4000), (0.6936, 0.8568, 0.8964), (0.7585, 0.5652, 0.2902), (1.1563, 0.4000)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_gradients(name: str):
    for game, expected in zip(table.GAMES, EXPECTED[name][0], strict=True):
        assert table.ratios(name, game) == pytest.approx(expected, abs=6e-5), game


@pytest.mark.parametrize("name", EXPECTED)
def test_signs(name: str):
    assert sum(table.flips(name).values()) == EXPECTED[name][1]


@pytest.mark.parametrize("name", EXPECTED)
def test_edges(name: str):
    b = behaviour(table.ESTIMATORS[name])
    assert f"{b.alone}|{b.ties}|{b.local}|{b.split}" == EXPECTED[name][2]


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transforms(name: str):
    for game, expected in zip(table.TRANSFORM_GAMES, TRANSFORMED[name], strict=True):
        assert table.transformed(name, game) == pytest.approx(expected, abs=6e-5), game


def test_every_method_has_a_row():
    for kind, rows in (("advantages", table.ESTIMATORS), ("transforms", table.TRANSFORMS)):
        known = {name.partition(",")[0] for name in rows}
        assert known == set(names(f"turnwise.trainers.{kind}")), f"give it a row in docs/make_conformance.py ({kind})"
    assert set(EXPECTED) == set(table.ESTIMATORS) and set(TRANSFORMED) == set(table.TRANSFORMS)


def test_the_page_is_current():
    page = table.PAGE.read_text(encoding="utf-8")
    assert table.with_tables(page) == page, "stale: run python docs/make_conformance.py"


# --- closed forms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "rloo",
        "trloo",
        "tree",
        "turn_gae, exact critic",
        "bilevel_gae, exact critic",
        "token_gae, exact critic",
        "istar, weight = 0",
    ],
)
def test_unbiased_to_the_last_digits(name: str):
    for game in [*list(table.GAMES)[:3], "failures"]:
        assert table.ratios(name, game) == pytest.approx([1.0] * len(table.GAMES[game].policy), abs=1e-12)


def test_the_tree_is_unbiased_under_forks_and_leave_one_out_over_rows_is_not():
    for branches in ((2, 1), (3, 1), (2, 2), (2, 1, 1)):
        game = replace(stop_continue(), branches=branches)
        assert measure(Tree(), game).ratio == pytest.approx((1, 1), abs=1e-12)
        assert measure(RLOO(), game).ratio[0] < 0.95
    assert measure(RLOO(), replace(stop_continue(), branches=(2, 1))).ratio == pytest.approx((7 / 8, 1), abs=1e-12)


def test_mean_only_is_short_by_n_minus_one_over_n_and_with_failures_by_its_mean():
    assert measure(DrGRPO(), stop_continue()).ratio == pytest.approx((2 / 3, 2 / 3), abs=1e-12)
    survive = {m: comb(3, m) * 0.75**m * 0.25 ** (3 - m) for m in (2, 3)}
    factor = sum(p * (m - 1) / m for m, p in survive.items()) / sum(survive.values())
    broken = replace(stop_continue(), failure=0.25)
    assert measure(DrGRPO(), broken).ratio == pytest.approx((factor, factor), abs=1e-12)


def test_gigpo_adds_the_probability_that_somebody_else_was_there():
    for go in (0.2, 0.5, 0.9):
        ratio = measure(GiGPO(gamma=1.0, weight=0.5), stop_continue(policy=(go, 0.7))).ratio
        assert ratio == pytest.approx((1.5, 1 + 0.5 * (1 - (1 - go) ** 2)), abs=1e-12)


def test_a_wrong_critic_biases_bootstrapping_but_not_returns():
    for lam, bias in ((1.0, 0.0), (0.0, 0.3)):
        found = measure(_Judged(TurnGAE(gamma=1.0, lam=lam)), stop_continue())
        # going on leads to a state that the critic thinks 0.3 better than it is
        assert found.mean[0] - found.truth[0] == pytest.approx(0.25 * bias, abs=1e-12)


@dataclass(frozen=True)
class _Judged:
    """With a critic that says 0.3 too much of the second turn."""

    estimator: TurnGAE
    needs_values: bool = True

    def __call__(self, batch: Batch) -> torch.Tensor:
        assert batch.values is not None
        wrong = batch.values.clone()
        wrong[:, 1] = torch.where(batch.turns > 1, wrong[:, 1] + 0.3, 0)
        return self.estimator(replace(batch, values=wrong))


# --- the machine -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", [stop_continue(), toll(), fog()], ids=lambda game: game.name)
def test_the_truth_is_the_gradient_of_the_expected_return(game: Game):
    logits = torch.tensor(game.policy, dtype=torch.float64).logit().requires_grad_()
    p = logits.sigmoid()
    total, mass = torch.zeros((), dtype=torch.float64), 0.0
    for path in game.paths:
        probability = torch.ones((), dtype=torch.float64)
        for move in path:
            probability = probability * move.chance * (p[move.decision] if move.choice else 1 - p[move.decision])
        total, mass = total + probability * sum(move.reward for move in path), mass + float(probability.detach())
    (gradient,) = torch.autograd.grad(total, logits)
    assert measure(RLOO(), game).truth == pytest.approx(gradient.tolist(), abs=1e-12)
    assert mass == pytest.approx(1)


def test_it_agrees_with_the_older_enumeration():
    found = measure(GRPO(), stop_continue())
    assert found.ratio == pytest.approx((2.3094, 1.6547), abs=5e-5) and found.spread == pytest.approx(0.3, abs=5e-5)


def test_a_draw_agrees_with_the_sum():
    """Groups of the toll road by lot: the exact mean lies within five standard errors of the drawn one."""
    game, generator = toll(), torch.Generator().manual_seed(0)
    exact, draws = measure(GRPO(), game), 4000
    weights = torch.tensor([_probability(game, path) for path in game.paths])
    picks = torch.multinomial(weights, 3 * draws, replacement=True, generator=generator).reshape(draws, 3)
    returns = torch.tensor([sum(m.reward for m in path) for path in game.paths], dtype=torch.float64)[picks]
    centred = returns - returns.mean(1, keepdim=True)
    advantage = torch.where(centred.abs() > 1e-9, centred / (returns.std(1, keepdim=True) + 1e-6), 0)
    scores = torch.zeros(len(game.paths), 3, dtype=torch.float64)
    for row, path in enumerate(game.paths):
        for move in path:
            scores[row, move.decision] += move.choice - game.policy[move.decision]
    estimate = (advantage[:, :, None] * scores[picks]).mean(1)
    error = estimate.std(0) / draws**0.5
    assert bool(((estimate.mean(0) - torch.tensor(exact.mean, dtype=torch.float64)).abs() < 5 * error).all())


def _probability(game: Game, path: tuple) -> float:
    out = 1.0
    for move in path:
        out *= move.chance * (game.policy[move.decision] if move.choice else 1 - game.policy[move.decision])
    return out


def test_the_grid_is_as_large_as_it_says():
    def against_the_truth(batch: Batch) -> torch.Tensor:
        return -RLOO()(batch)

    zero_gradients = 414 - len(sign_flips(against_the_truth))
    assert GRID == 414 and 0 <= zero_gradients < 60


def test_a_new_estimator_can_be_measured_from_outside():
    def cheat(batch: Batch) -> torch.Tensor:
        return (batch.returns - batch.returns.mean())[:, None] * batch.mask

    assert behaviour(cheat).local == "no" and behaviour(cheat).alone == "not 0"
