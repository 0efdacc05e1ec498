"""Estimators: worked numbers, the rules of the protocol, and the specimens that break them."""

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.errors import ConfigError, ShapeError
from turnwise.registry import names, resolve
from turnwise.trainers.advantages.dr_grpo import DrGRPO
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.rloo import RLOO
from turnwise.trainers.advantages.trloo import TRLOO
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.batch import collate
from turnwise.trainers.packing import one_row_per_turn
from turnwise.trainers.testing import check_advantage, make_group, make_trajectory
from turnwise.types import Group, Stop, Task

ALL = [resolve("turnwise.trainers.advantages", name) for name in names("turnwise.trainers.advantages")]
COMPARING = [GRPO(), GRPO(std=False), DrGRPO(), RLOO(), TRLOO(), TRLOO(raw_singletons=True)]


def batch_of(*groups):
    return collate(groups).to(torch.float64)


def per_turn(batch, advantages):
    """[B, K] as lists, one entry for each turn that exists."""
    return [
        [float(row[turn == k][0]) for k in range(int(count))]
        for row, turn, count in zip(advantages, batch.turn, batch.turns, strict=True)
    ]


@pytest.mark.parametrize("estimator", [cls() for cls in ALL] + COMPARING)
def test_protocol(estimator):
    check_advantage(estimator)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (GRPO(), [1.154698538, -0.577349269, -0.577349269, 0, 0, 0]),
        (DrGRPO(), [0.666666667, -0.333333333, -0.333333333, 0, 0, 0]),
        (GRPO(std=False), [0.666666667, -0.333333333, -0.333333333, 0, 0, 0]),
        (RLOO(), [1, -0.5, -0.5, 0, 0, 0]),
        (TRLOO(), [1, -0.5, -0.5, 0, 0, 0]),
    ],
)
def test_single_turn_oracle(estimator, expected):
    batch = batch_of(make_group("a", [1.0], [0.0], [0.0]), make_group("b", [1.0], [1.0], [1.0]))
    assert [row[0] for row in per_turn(batch, estimator(batch))] == pytest.approx(expected, abs=1e-9)


def test_sample_standard_deviation_not_the_population_one():
    batch = batch_of(make_group("a", [1.0], [0.0]))
    assert per_turn(batch, GRPO()(batch))[0] == pytest.approx(
        [
            0.7071,
        ],
        abs=1e-4,
    )


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [(1.0, [[1, 1.25, 1], [-1.25, -1, -1], [0.25, -0.25]]), (0.5, [[0.125, 0.75, 1], [-0.625, -0.75, -1], [0.5, 0]])],
)
def test_trloo_oracle(gamma, expected):
    batch = batch_of(make_group("p", [0, 0.5, 1.0], [0, 0, 0], [0.5, 0.5]))
    for row, want in zip(per_turn(batch, TRLOO(gamma=gamma)(batch)), expected, strict=True):
        assert row == pytest.approx(want)


def test_trloo_judges_a_turn_nobody_else_reached_by_how_the_others_ended():
    batch = batch_of(make_group("a", [1.0], [0.5, 0.25], [0.0, 0.0, 2.0]))
    # the last turn of the third: 2 - mean(1, 0.25); the paper's rule: 2
    assert per_turn(batch, TRLOO()(batch))[2] == pytest.approx([2 - 0.875, 2 - 0.25, 2 - 0.625])
    assert per_turn(batch, TRLOO(raw_singletons=True)(batch))[2] == pytest.approx([2 - 0.875, 2 - 0.25, 2])


def test_fault_7_a_group_of_one_is_no_raw_return():
    """KernelGYM takes the raw return-to-go of whoever is alone at a turn: a lone survivor was pushed up for whatever it did."""
    alone = batch_of(make_group("a", [0.5, 1.0]), make_group("b", [1.0], [0.0]))
    assert not TRLOO()(alone)[0].any() and not TRLOO(raw_singletons=True)(alone)[0].any()
    deep = batch_of(make_group("a", [1.0], [0.0, 1.0]))
    assert per_turn(deep, TRLOO()(deep))[1] == [0, 0]
    assert per_turn(deep, TRLOO(raw_singletons=True)(deep))[1] == [0, 1]


def test_a_long_success_among_short_ones_is_a_success_among_successes():
    batch = batch_of(make_group("a", [1.0], [0.0, 1.0], [0.0, 0.0, 1.0]))
    assert not TRLOO()(batch).any()
    assert TRLOO(raw_singletons=True)(batch).any()


@pytest.mark.parametrize("estimator", COMPARING)
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 1e-8, 1e6])
def test_zero_variance_groups_give_exactly_zero(estimator, value):
    batch = collate([make_group("a", *([0.0, value],) * 3), make_group("b", *([value / 3] * 3,) * 7)])
    assert batch.rewards.dtype == torch.float32
    assert not estimator(batch).any()


def test_rounding_is_no_variance_but_a_small_difference_is_a_small_advantage():
    nearly = collate([make_group("a", [0.1, 0.2], [0.3, 0.0], [0.15, 0.15])])
    assert not GRPO()(nearly).any()
    tiny = batch_of(make_group("a", [1e-8], [0.0]))
    assert 0 < float(GRPO()(tiny).max()) < 0.01  # eps keeps a spread of 7e-9 from becoming +-0.7


@pytest.mark.parametrize("estimator", COMPARING)
def test_a_single_survivor_gives_zero(estimator):
    task = Task("a", "", "", 0)
    trajectories = (
        make_trajectory(task, [0.0, 1.0]),
        make_trajectory(task, [0.0], failure="env"),
        make_trajectory(task, [], failure="env"),
    )
    batch = batch_of(Group(task, trajectories), Group(Task("b", "", "", 0), (make_trajectory(task, [1.0, 2.0]),)))
    assert not estimator(batch).any()


def test_survivors_of_a_group_are_judged_as_if_the_failed_had_never_been():
    task = Task("a", "", "", 0)
    alive = tuple(make_trajectory(task, r) for r in ([1.0], [0.0, 0.0], [0.0, 1.0]))
    failed = (make_trajectory(task, [], failure="engine"), make_trajectory(task, [5.0, 5.0], failure="env"))
    for estimator in COMPARING:
        clean, dirty = batch_of(Group(task, alive)), batch_of(Group(task, alive + failed))
        assert torch.equal(estimator(clean), estimator(dirty)[:3])


def test_every_token_of_every_turn_is_reached_and_a_last_reward_of_zero_is_a_reward():
    batch = batch_of(make_group("a", [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]))
    for estimator in (GRPO(), DrGRPO(), RLOO()):
        assert bool((estimator(batch)[batch.mask] != 0).all())
    assert per_turn(batch, TRLOO()(batch)) == [[1, 0, 0], [-1, 0, 0]]
    nothing = batch_of(make_group("a", [0.0, 0.0], [0.0, 0.0]))
    assert not any(estimator(nothing).any() for estimator in COMPARING)


def with_values(batch, *rows):
    return replace(batch, values=torch.tensor(rows, dtype=torch.float64))


def test_turn_gae_oracle():
    batch = with_values(batch_of(make_group("a", [0, 0, 1, 0, 0])), [0.5, 0.8, 1.0, 0.6, 0.3, 9.0])
    assert per_turn(batch, TurnGAE()(batch))[0] == pytest.approx([0.50931971, 0.231068273, 0.043666425, -0.58515, -0.3])
    targets = TurnGAE().targets(batch)[0].tolist()
    assert targets == pytest.approx([1.00931971, 1.031068273, 1.043666425, 0.01485, 0])


def test_turn_gae_bootstraps_only_what_was_cut_short():
    task = Task("a", "", "", 0)
    ends = (Stop.TERMINATED, Stop.TRUNCATED, Stop.TOKENS)
    group = Group(task, (*(make_trajectory(task, [0.0, 1.0], stop=s) for s in ends), make_trajectory(task, [0.0, 0.0, 0.0])))
    batch = with_values(batch_of(group), *[[0.5, 0.25, 4.0, 99.0]] * 4)
    estimator = TurnGAE(gamma=0.5, lam=1.0)
    advantages = per_turn(batch, estimator(batch))
    assert advantages[0] == pytest.approx([0.5 * 1 - 0.5, 1 - 0.25])
    assert advantages[1] == pytest.approx([0.5 * 3 - 0.5, 1 + 0.5 * 4 - 0.25])
    assert advantages[2] == advantages[1]
    assert estimator.targets(batch)[1].tolist() == pytest.approx([1.5, 3.0, 0.0])


def test_turn_gae_without_bootstrap_is_worth_nothing_after_a_limit():
    """A critic that thinks well of what no turn ever follows would teach a policy to let its turns run out."""
    task = Task("a", "", "", 0)
    group = Group(task, tuple(make_trajectory(task, [0.0, 1.0], stop=s) for s in (Stop.TERMINATED, Stop.TRUNCATED, Stop.TOKENS)))
    batch = with_values(batch_of(group), *[[0.5, 0.25, 4.0]] * 3)
    estimator = TurnGAE(gamma=0.5, lam=1.0, bootstrap=False)
    assert per_turn(batch, estimator(batch)) == [pytest.approx([0.5 * 1 - 0.5, 1 - 0.25])] * 3
    assert estimator.targets(batch).tolist() == [pytest.approx([0.5, 1.0])] * 3


def test_turn_gae_with_lam_one_and_no_critic_is_the_return_to_go():
    batch = batch_of(make_group("a", [1.0, 2.0, 4.0], [8.0]))
    batch = replace(batch, values=torch.zeros(2, 4, dtype=torch.float64))
    assert per_turn(batch, TurnGAE(gamma=0.5, lam=1.0)(batch)) == [[3.0, 4.0, 4.0], [8.0]]


def test_turn_gae_says_what_it_needs():
    batch = batch_of(make_group("a", [1.0, 0.0]))
    with pytest.raises(ConfigError, match=r"turn_gae: .* \[critic\]"):
        TurnGAE()(batch)
    with pytest.raises(ShapeError, match=r"expected values as \[B, K \+ 1\] = \(1, 3\), got \(1, 2\)"):
        TurnGAE()(replace(batch, values=torch.zeros(1, 2)))


def test_parts_of_trajectories_are_refused():
    split, _ = one_row_per_turn(batch_of(make_group("a", [1.0, 0.0], [0.0])))
    for estimator in COMPARING:
        with pytest.raises(ShapeError, match="one row per trajectory"):
            estimator(split)


@dataclass(frozen=True)
class Specimen:
    """An estimator with one fault."""

    fault: str

    def __call__(self, batch):
        good = RLOO()(batch)
        match self.fault:
            case "shape":
                return good[:, :-1]
            case "dtype":
                return good.float()
            case "mask":
                return good + ~batch.mask
            case "batch norm":
                return good / (batch.returns.std() + 1)
            case "failed":
                return (batch.returns - (batch.rewards.sum(1) * (batch.group == batch.group[:, None])).mean(1))[
                    :, None
                ] * batch.mask
            case "tokens differ":
                return good * torch.arange(good.shape[1])
            case _:  # "singleton": the raw return
                return torch.where(batch.group_size()[:, None] == 1, batch.returns[:, None], good) * batch.mask


@pytest.mark.parametrize("fault", ["shape", "dtype", "mask", "batch norm", "failed", "tokens differ", "singleton"])
def test_the_check_finds(fault):
    with pytest.raises(AssertionError):
        check_advantage(Specimen(fault))


REWARDS = st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0]), min_size=1, max_size=4), min_size=2, max_size=5)


@settings(max_examples=40, deadline=None)
@given(REWARDS, st.sampled_from([-2.0, 0.5, 3.0]))
def test_laws(rewards, shift):
    batch = batch_of(make_group("a", *rewards))
    moved = batch_of(make_group("a", *([*r[:-1], r[-1] + shift] for r in rewards)))
    n = len(rewards)
    assert torch.allclose(RLOO()(batch), DrGRPO()(batch) * n / (n - 1))
    assert torch.allclose(per_row(batch, RLOO()(batch)).sum(), torch.zeros((), dtype=torch.float64), atol=1e-12)
    for estimator in (GRPO(), DrGRPO(), RLOO(), TRLOO()):  # a constant added to every end changes nothing
        assert torch.allclose(estimator(moved), estimator(batch), atol=1e-9)


def per_row(batch, advantages):
    return advantages.gather(1, batch.mask.long().argmax(1, keepdim=True))
