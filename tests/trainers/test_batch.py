"""Batch and packing: structure from records, statistics of groups, shared turns, rows."""

import pytest
import torch

from turnwise.errors import ConfigError, ShapeError
from turnwise.trainers.batch import collate
from turnwise.trainers.packing import micro_batches, one_row_per_turn
from turnwise.trainers.testing import make_group, make_trajectory
from turnwise.types import Group, Stop, Task, Trajectory

TASK = Task("a", "", "", 0)


def forked():
    """Two rollouts that share their first turn (2 tokens), one of its own, one that failed after the fork."""
    stem = make_trajectory(TASK, [0.0]).leaf
    branches = [make_trajectory(TASK, [r], after=stem, tokens=1) for r in (1.0, 0.0)]
    broken = make_trajectory(TASK, [0.0], after=stem, tokens=1, failure="env")
    return collate([Group(TASK, (*branches, make_trajectory(TASK, [0.5], tokens=1), broken))])


def test_collate_lays_tokens_turns_and_logprobs_side_by_side():
    trajectory = make_trajectory(TASK, [0.0, 1.0], tokens=[2, 1], context=2, logprob=-0.5)
    batch = collate([Group(TASK, (trajectory, make_trajectory(TASK, [1.0], tokens=1, context=1)))], pad_id=9)
    assert batch.turn.tolist() == [[-1, -1, 0, 0, -1, -1, 1], [-1, 0, -1, -1, -1, -1, -1]]
    assert tuple(batch.tokens[0].tolist()) == trajectory.ids
    assert batch.tokens[1, 2:].tolist() == [9] * 5
    assert batch.logprobs[0].tolist() == [0, 0, -0.5, -0.5, 0, 0, -0.5]
    assert batch.lengths.tolist() == [7, 2] and batch.turns.tolist() == [2, 1]
    assert batch.rewards.tolist() == [[0, 1], [1, 0]] and batch.terms["made"].tolist() == [[0, 1], [1, 0]]
    assert batch.trajectory.tolist() == [0, 1] and batch.returns.tolist() == [1, 1]
    assert batch.mask.sum() == 4


def test_a_pad_id_that_is_also_sampled_stays_trained():
    batch = collate(
        [Group(TASK, (make_trajectory(TASK, [0.0], tokens=3, context=1), make_trajectory(TASK, [0.0], tokens=1)))], pad_id=4
    )
    assert 4 in batch.tokens[0].tolist() and batch.mask[0].sum() == 3


def test_stops_and_failures_reach_the_batch():
    stops = (Stop.TERMINATED, Stop.TRUNCATED, Stop.TOKENS)
    group = Group(TASK, (*(make_trajectory(TASK, [1.0], stop=s) for s in stops), make_trajectory(TASK, [], failure="env")))
    batch = collate([group])
    assert batch.terminated.tolist() == [True, False, False, True]
    assert batch.failed.tolist() == [False, False, False, True]
    assert batch.group_size().tolist() == [3] * 4


def test_wrong_lengths_and_nothing_are_refused():
    with pytest.raises(ShapeError, match="no trajectories"):
        collate([])
    good = make_trajectory(TASK, [1.0])
    leaf = good.leaf
    assert leaf is not None
    bad = Trajectory(TASK, "", 0, type(leaf)(**{f: getattr(leaf, f) for f in leaf.__slots__} | {"logprobs": (-1.0,)}), good.stop)
    with pytest.raises(ShapeError, match="logprobs has 1 entries for 2"):
        collate([Group(TASK, (bad,))])
    batch = collate([make_group("a", [1.0, 2.0])])
    with pytest.raises(ShapeError, match=r"to_tokens: expected per_turn as \[B, K\] = \(1, 2\), got \(1, 3\)"):
        batch.to_tokens(torch.zeros(1, 3))


def test_returns_to_go_and_group_sums_leave_failures_out():
    batch = forked()
    assert batch.returns_to_go(0.5).tolist() == [[0.5, 1.0], [0, 0], [0.5, 0], [0, 0]]
    assert batch.group_sum(batch.returns).tolist() == [1.5] * 4
    assert batch.group_sum(torch.ones_like(batch.rewards)).tolist() == [[3, 2]] * 4
    assert (
        batch.group_sum(torch.full((4,), torch.nan).where(batch.failed, 1)).tolist() == [3] * 4
    )  # nan of the failed row stays out


def test_shared_turns_weigh_one_in_all():
    batch = forked()
    weights = batch.node_weights()
    assert [row[m].tolist() for row, m in zip(weights, batch.mask, strict=True)] == [[0.5, 0.5, 1], [0.5, 0.5, 1], [1], []]
    alone = batch.rows(torch.tensor([1])).node_weights()  # its sibling is in another optimiser step
    assert alone[batch.mask[1:2]].tolist() == [1, 1, 1]
    assert weights.to(torch.float64).dtype == torch.float64 and batch.to(torch.float64).node_weights().dtype == torch.float64


def test_rows_keep_the_width_and_trim_cuts_it():
    batch = collate([make_group("a", [0.0, 1.0], [1.0]), make_group("b", [1.0])])
    short = batch.rows(torch.tensor([2, 1]))
    assert short.tokens.shape == (2, 10) and short.group.tolist() == [1, 0] and short.terms["made"].shape == (2, 2)
    cut = short.trim()
    assert cut.tokens.shape == (2, 5) and torch.equal(cut.tokens, short.tokens[:, :5]) and cut.rewards.shape == (2, 2)
    assert torch.equal(cut.mask.sum(1), short.mask.sum(1))


def test_one_row_per_turn_keeps_what_came_before_and_trains_one_turn():
    batch = forked()
    split, source = one_row_per_turn(batch)
    assert source.tolist() == [0, 0, 1, 1, 2] and split.trajectory.tolist() == [0, 0, 1, 1, 2] and split.split
    assert split.lengths.tolist() == [5, 9, 5, 9, 4]
    assert split.turn[0].tolist() == [-1, -1, -1, 0, 0, -1, -1, -1, -1]
    assert split.turn[1].tolist() == [-1] * 8 + [1]
    assert torch.equal(split.tokens[1], batch.tokens[0]) and split.tokens[0, 5:].tolist() == [0] * 4
    total = torch.zeros_like(batch.logprobs).index_add_(0, source, split.mask.float())
    assert torch.equal(total.bool(), batch.mask)
    weights = torch.zeros_like(batch.logprobs).index_add_(0, source, split.node_weights())
    assert torch.equal(weights, batch.node_weights())


@pytest.mark.parametrize("budget", [1, 10, 21, 40, 10_000])
def test_micro_batches_hold_every_row_once_within_the_budget(budget):
    batch = collate([make_group("a", *([0.0] * n for n in (1, 3, 2, 1, 5, 2, 1)))])
    parts = micro_batches(batch, budget)
    assert sorted(torch.cat(parts).tolist()) == list(range(7))
    for part in parts:
        assert len(part) == 1 or batch.rows(part).trim().tokens.numel() <= budget
    if budget == 10_000:
        assert len(parts) == 1
    with pytest.raises(ConfigError, match="max_tokens"):
        micro_batches(batch, 0)
