"""Transforms: worked numbers, shared turns, failures, and that a recipe applies them in order."""

from dataclasses import replace

import pytest
import torch

from turnwise.errors import ConfigError, ShapeError
from turnwise.registry import names, resolve
from turnwise.trainers.advantages.rloo import RLOO
from turnwise.trainers.aggregates import TokenMean
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.testing import check_transform, make_group, make_trajectory
from turnwise.trainers.transforms.duration_aware import DurationAware
from turnwise.trainers.transforms.empg import EMPG
from turnwise.trainers.transforms.entropy_aware import EntropyAware
from turnwise.trainers.transforms.length_free import LengthFree
from turnwise.trainers.transforms.positive_only import PositiveOnly
from turnwise.types import Group, Task

TASK = Task("a", "", "", 0)
ALL = [resolve("turnwise.trainers.transforms", name)() for name in names("turnwise.trainers.transforms")]


def batch_of(*groups: Group) -> Batch:
    return collate(groups).to(torch.float64)


def per_turn(batch: Batch, advantages: torch.Tensor) -> list[float]:
    rows = zip(advantages, batch.turn, batch.turns, strict=True)
    return [float(row[turn == k][0]) for row, turn, count in rows for k in range(int(count))]


def spread(batch: Batch, values: list[float]) -> torch.Tensor:
    """[B, T] with one advantage a row."""
    return torch.tensor(values, dtype=torch.float64)[:, None] * batch.mask


@pytest.mark.parametrize("transform", ALL, ids=str)
def test_protocol(transform):
    check_transform(transform)


@pytest.mark.parametrize("transform", ALL, ids=str)
def test_wrong_shapes_are_refused(transform):
    batch = batch_of(make_group("a", [1.0], [0.0]))
    with pytest.raises(ShapeError, match=r"expected advantages as \[B, T\]"):
        transform(batch, torch.zeros(2, 2))


@pytest.mark.parametrize("transform", ALL, ids=str)
def test_a_batch_of_failures_is_no_trouble(transform):
    task = Task("a", "", "", 0)
    batch = batch_of(Group(task, (make_trajectory(task, [1.0], failure="env"), make_trajectory(task, [], failure="env"))))
    assert not transform(batch, torch.zeros_like(batch.logprobs)).any()


# --- entropy-aware -----------------------------------------------------------------------------------------------------


def test_doubt_scales_credit():
    batch = batch_of(make_group("a", [1.0], [0.0], tokens=2))
    batch = replace(batch, entropies=torch.where(batch.mask, torch.tensor([[1.0], [3.0]], dtype=torch.float64), 0))
    got = EntropyAware(weight=0.2)(batch, spread(batch, [1.0, -1.0]))
    assert per_turn(batch, got) == pytest.approx([1.0 * (1 - 0.2), -1.0 * (1 + 0.2)]), "z = -1 and 1"
    assert per_turn(batch, EntropyAware(weight=3.0)(batch, spread(batch, [1.0, -1.0]))) == pytest.approx([0.0, -4.0])
    even = replace(batch, entropies=batch.mask * 2.0)
    assert torch.equal(EntropyAware()(even, spread(even, [1.0, -1.0])), spread(even, [1.0, -1.0]))


# --- EMPG --------------------------------------------------------------------------------------------------------------


def entropies(tokens: int = 2) -> Batch:
    rows = ([0.2, 1.0, 0.6], [0.4, 1.4])
    group = Group(TASK, tuple(make_trajectory(TASK, [0.0] * len(r), entropies=r, tokens=tokens) for r in rows))
    return batch_of(group)


FINAL = [1.166502834, 0.470300918, 0.72932907, -1.521255643, -0.844877179]


def test_empg_oracle():
    batch = entropies()
    assert per_turn(batch, EMPG()(batch, spread(batch, [1, -1]))) == pytest.approx(FINAL, abs=2e-8)


def test_empg_scale_and_bonus_apart():
    batch = entropies()
    ones = EMPG(zeta=0.0)(batch, spread(batch, [1, 1]))
    g = [1.451669711, 0.745312085, 1.040166803, 1.228811882, 0.534039446]
    assert per_turn(batch, ones) == pytest.approx([x - sum(g) / 5 for x in g], abs=2e-8)
    bonus = EMPG(zeta=1.0)(batch, spread(batch, [0, 0]))
    f = [0.513417122, 0.716531313, 0, 0.367879444, 0]
    assert per_turn(batch, bonus) == pytest.approx([x - sum(f) / 5 for x in f], abs=2e-8)


def test_empg_centres_over_turns_not_tokens():
    task = Task("a", "", "", 0)
    long = make_trajectory(task, [0.0] * 3, entropies=[0.2, 1.0, 0.6], tokens=[9, 1, 1])
    batch = batch_of(Group(task, (long, make_trajectory(task, [0.0] * 2, entropies=[0.4, 1.4]))))
    assert per_turn(batch, EMPG()(batch, spread(batch, [1, -1]))) == pytest.approx(FINAL, abs=2e-8)


def test_empg_with_equal_entropies_gives_the_bonus_to_all_but_last_turns():
    batch = batch_of(make_group("a", [0.0, 0.0], [0.0]))
    got = per_turn(batch, EMPG(zeta=0.3)(batch, spread(batch, [1, 1])))
    assert got == pytest.approx([0.2, -0.1, -0.1])


def test_empg_a_shared_turn_is_one_step():
    stem = make_trajectory(TASK, [0.0], entropies=[0.2]).leaf
    forks = [make_trajectory(TASK, [0.0], entropies=[1.0], after=stem) for _ in range(2)]
    batch = batch_of(Group(TASK, tuple(forks)))
    got = per_turn(batch, EMPG(zeta=0.0, k=2.0)(batch, spread(batch, [1, 1])))
    e = torch.tensor([0.0, -2.0], dtype=torch.float64).exp()
    g = e / ((e[0] + 2 * e[1]) / 3)
    assert got == pytest.approx([float(g[0]) - 1, float(g[1]) - 1] * 2, abs=1e-7)


# --- durations ---------------------------------------------------------------------------------------------------------


def timed(*seconds: float) -> Batch:
    return batch_of(Group(TASK, tuple(make_trajectory(TASK, [0.0], seconds=[s]) for s in seconds)))


def test_duration_aware_oracle():
    batch = timed(1, 1, 10)
    assert per_turn(batch, DurationAware()(batch, spread(batch, [-0.5, 0.2, 1.0]))) == pytest.approx([-0.125, 0.05, 2.5])


def test_duration_aware_evens_out_what_a_deadline_did():
    """pi = (.5, .5), durations 1 and 10: in 110 seconds 100 of the quick finish for 10 of the slow; weighted they are even."""
    quick, slow = 100, 10
    batch = timed(*[1.0] * quick, *[10.0] * slow)
    weighted = torch.tensor(per_turn(batch, DurationAware()(batch, spread(batch, [1.0] * 110))))
    assert float(weighted[:quick].sum()) == pytest.approx(float(weighted[quick:].sum()))
    assert float(weighted.mean()) == pytest.approx(1)


def test_duration_aware_caps_and_leaves_a_batch_without_durations():
    batch = timed(1, 1, 1000)
    assert per_turn(batch, DurationAware(cap_s=10)(batch, spread(batch, [1, 1, 1]))) == pytest.approx([0.25, 0.25, 2.5])
    still = timed(0, 0)
    assert per_turn(still, DurationAware()(still, spread(still, [1, -1]))) == [1, -1]
    with pytest.raises(ConfigError, match=r"duration_aware.cap_s: expected seconds above 0, got 0"):
        DurationAware(cap_s=0)


# --- length ------------------------------------------------------------------------------------------------------------


def test_length_free_turns_weigh_alike_under_token_mean():
    task = Task("a", "", "", 0)
    batch = batch_of(Group(task, (make_trajectory(task, [0.0, 0.0], tokens=[8, 1]), make_trajectory(task, [0.0], tokens=3))))
    changed = LengthFree()(batch, spread(batch, [1, -1]))
    assert per_turn(batch, changed) == pytest.approx([0.5, 4, -4 / 3])
    push = changed * TokenMean()(batch)
    totals = [float(push[row][batch.turn[row] == k].sum()) for row, k in ((0, 0), (0, 1), (1, 0))]
    assert totals == pytest.approx([1 / 3, 1 / 3, -1 / 3])


def test_length_free_changes_nothing_where_lengths_are_equal():
    batch = batch_of(make_group("a", [0.0, 1.0], [0.0]))
    advantages = RLOO()(batch)
    assert torch.equal(LengthFree()(batch, advantages), advantages)


def test_positive_only_drops_what_went_worse():
    batch = batch_of(make_group("a", [1.0], [0.0], [0.5]))
    assert per_turn(batch, PositiveOnly()(batch, RLOO()(batch))) == [0.75, 0, 0]


def test_durations_reach_the_batch():
    task = Task("a", "", "", 0)
    batch = collate([Group(task, (make_trajectory(task, [0.0, 0.0], seconds=[1.5, 2.0]), make_trajectory(task, [0.0])))])
    assert batch.seconds.tolist() == [[1.5, 2.0], [0.0, 0.0]]
    assert replace(batch, seconds=batch.seconds * 2).seconds[0, 0] == 3
