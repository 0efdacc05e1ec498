"""Checks for anybody's estimator or loss, and small made-up records to try it on.

check_advantage(MyEstimator())    # raises AssertionError with the rule that is broken
check_loss(MyLoss())
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from turnwise.trainers.advantages.protocol import Advantage
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.losses.protocol import Loss
from turnwise.types import Failure, Group, Stop, Task, Trajectory, Turn

__all__ = ["check_advantage", "check_loss", "make_group", "make_trajectory"]


def make_trajectory(
    task: Task,
    rewards: Sequence[float],
    *,
    tokens: int | Sequence[int] = 2,
    replies: Sequence[str] = (),
    after: Turn | None = None,
    stop: Stop = Stop.TERMINATED,
    failure: str = "",
    outcome: float = 0.0,
    valid: bool = True,
    stop_reason: str = "stop",
    logprob: float = -1.0,
    context: int = 3,
) -> Trajectory:
    """A trajectory with these turn rewards, `tokens` sampled per turn after `context` others; `after` forks it from a turn."""
    leaf, start = after, len(after.path()) if after else 0
    counts = [tokens] * len(rewards) if isinstance(tokens, int) else tokens
    for k, (reward, count) in enumerate(zip(rewards, counts, strict=True), start=start):
        leaf = Turn(
            observation=f"{task.id}: turn {k}",
            context_ids=tuple((5 * k + i) % 17 for i in range(context)),
            action=replies[k - start] if replies else f"{task.id} reply {k}",
            action_ids=tuple((7 * k + 3 * i + 1) % 17 for i in range(count)),
            logprobs=(logprob,) * count,
            entropies=(0.5,) * count,
            reward=reward,
            reward_terms={"made": reward},
            outcome=outcome,
            valid=valid,
            tool_calls=0,
            stop_reason=stop_reason,
            version=0,
            duration_s=0.0,
            parent=leaf,
        )
    return Trajectory(task, "turnwise/Made-v0", 0, leaf, stop, Failure(failure, "made up") if failure else None)


def make_group(name: str, *rewards: Sequence[float], tokens: int = 2) -> Group:
    """A group of trajectories with these turn rewards."""
    task = Task(name, "", "", 0)
    return Group(task, tuple(make_trajectory(task, r, tokens=tokens) for r in rewards))


def check_advantage(estimator: Advantage) -> None:
    """The rules of the protocol, on a batch with groups of several shapes, failures and a group of one. Raises AssertionError."""
    batch = _specimen()
    advantages = estimator(batch)
    assert advantages.shape == batch.tokens.shape, f"shape: expected [B, T], got {tuple(advantages.shape)}"
    assert advantages.dtype == batch.rewards.dtype, f"dtype: expected that of the rewards, got {advantages.dtype}"
    assert bool(advantages.isfinite().all()), "every advantage is finite"
    assert not bool(advantages[~batch.mask].any()), "0 outside the mask, failed trajectories included"
    for row in range(len(batch.tokens)):
        for k in range(int(batch.turns[row])):
            assert len(advantages[row][batch.turn[row] == k].unique()) <= 1, "all tokens of a turn have its advantage"
    order = torch.arange(len(batch.tokens)).flip(0)
    assert torch.allclose(estimator(batch.rows(order)), advantages[order]), "the order of trajectories does not matter"
    for group in batch.group.unique().tolist():
        own = batch.group == group
        moved = replace(batch, rewards=torch.where(own[:, None], batch.rewards + 1.5, batch.rewards))
        assert torch.equal(estimator(moved)[~own], advantages[~own]), "rewards of one group never move another group"
        failed = own & batch.failed
        broken = replace(batch, rewards=torch.where(failed[:, None], 99.0, batch.rewards))
        assert torch.equal(estimator(broken), advantages), "what a failed trajectory earned does not matter"
    if not getattr(estimator, "needs_values", False):
        alone = batch.group_size() == 1
        assert not bool(advantages[alone].any()), "a group of one gives 0"


def check_loss(loss: Loss) -> None:
    """The rules of the protocol: shape, mask, rows apart, and a gradient of -A where the ratio is 1. Raises AssertionError."""
    batch = _specimen()
    advantages = torch.linspace(-1, 1, batch.tokens.numel(), dtype=torch.float64).reshape(batch.tokens.shape)
    current = (batch.logprobs + 0.1 * advantages.flip(0)).requires_grad_()
    values = loss(current, advantages, batch)
    assert values.shape == batch.tokens.shape, f"shape: expected [B, T], got {tuple(values.shape)}"
    assert values.dtype == current.dtype, f"dtype: expected that of the log-probabilities, got {values.dtype}"
    assert not bool(values[~batch.mask].any()), "0 outside the mask"
    for row in range(len(batch.tokens)):
        own = torch.tensor([row])
        assert torch.equal(loss(current[own], advantages[own], batch.rows(own)), values[own]), "a loss looks at its own row only"
    on_policy = batch.logprobs.clone().requires_grad_()
    gradient = _gradient(loss(on_policy, advantages, batch).sum(), on_policy)
    expected = torch.where(batch.mask, -advantages, 0)
    assert torch.allclose(gradient, expected), "on policy the gradient is that of REINFORCE, -A"


def _gradient(total: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(total, at)[0]


def _specimen() -> Batch:
    a, b, c, d = (Task(name, "", "", 0) for name in "abcd")
    groups = (
        Group(a, tuple(make_trajectory(a, r) for r in ([0.0, 1.0], [0.0], [0.0, 0.5, 1.0]))),
        Group(b, (make_trajectory(b, [1.0]), make_trajectory(b, [0.0, 0.0]), make_trajectory(b, [2.0], failure="env"))),
        Group(c, (make_trajectory(c, [3.0, -1.0]),)),
        Group(d, (make_trajectory(d, [0.25, 0.5], stop=Stop.TRUNCATED), make_trajectory(d, [1.0], failure="engine"))),
    )
    batch = collate(groups).to(torch.float64)
    values = torch.linspace(0.1, 0.9, batch.rewards.numel() + len(batch.rewards), dtype=torch.float64)
    return replace(batch, values=values.reshape(len(batch.rewards), -1))
