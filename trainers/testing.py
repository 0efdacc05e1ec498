"""Checks for anybody's estimator or loss, and small made-up records to try it on.

check_advantage(MyEstimator())    # raises AssertionError with the rule that is broken
check_transform(MyTransform())
check_loss(MyLoss())
check_shaper(MyShaper())
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from turnwise.agents.engines.scripted import ScriptedEngine
from turnwise.trainers.advantages.protocol import Advantage
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.losses.protocol import Loss
from turnwise.trainers.rewards.protocol import Scene, Shaper
from turnwise.trainers.shaping import shape, start
from turnwise.trainers.transforms.protocol import Transform
from turnwise.types import Failure, Group, Stop, Task, Trajectory, Turn

__all__ = ["check_advantage", "check_loss", "check_shaper", "check_transform", "make_group", "make_trajectory"]


def make_trajectory(
    task: Task,
    rewards: Sequence[float],
    *,
    tokens: int | Sequence[int] = 2,
    replies: Sequence[str] = (),
    observations: Sequence[str] = (),
    terms: Sequence[Mapping[str, float]] = (),
    seconds: Sequence[float] = (),
    entropies: Sequence[float] = (),
    after: Turn | None = None,
    stop: Stop = Stop.TERMINATED,
    failure: str = "",
    outcome: float = 0.0,
    valid: bool = True,
    stop_reason: str = "stop",
    logprob: float = -1.0,
    context: int = 3,
) -> Trajectory:
    """A trajectory with these turn rewards, `tokens` sampled per turn after `context` others; `after` forks it from a turn.

    `replies`, `observations`, `terms`, `seconds` and `entropies` (of each of a turn's tokens) are by turn, made up where not
    given.
    """
    leaf, start = after, len(after.path()) if after else 0
    counts = [tokens] * len(rewards) if isinstance(tokens, int) else tokens
    for k, (reward, count) in enumerate(zip(rewards, counts, strict=True), start=start):
        leaf = Turn(
            observation=observations[k - start] if observations else f"{task.id}: turn {k}",
            context_ids=tuple((5 * k + i) % 17 for i in range(context)),
            action=replies[k - start] if replies else f"{task.id} reply {k}",
            action_ids=tuple((7 * k + 3 * i + 1) % 17 for i in range(count)),
            logprobs=(logprob,) * count,
            entropies=(entropies[k - start] if entropies else 0.5,) * count,
            reward=reward,
            reward_terms=terms[k - start] if terms else {"made": reward},
            outcome=outcome,
            valid=valid,
            tool_calls=0,
            stop_reason=stop_reason,
            version=0,
            duration_s=seconds[k - start] if seconds else 0.0,
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
    per_token, coupled = (getattr(estimator, name, False) for name in ("per_token", "couples_groups"))
    for row in range(0 if per_token else len(batch.tokens)):
        for k in range(int(batch.turns[row])):
            assert len(advantages[row][batch.turn[row] == k].unique()) <= 1, (
                "all tokens of a turn have its advantage (unless per_token says so)"
            )
    order = torch.arange(len(batch.tokens)).flip(0)
    assert torch.allclose(estimator(batch.rows(order)), advantages[order]), "the order of trajectories does not matter"
    for group in batch.group.unique().tolist():
        own = batch.group == group
        moved = replace(batch, rewards=torch.where(own[:, None], batch.rewards + 1.5, batch.rewards))
        still = torch.equal(estimator(moved)[~own], advantages[~own])
        assert still or coupled, "rewards of one group never move another group (unless couples_groups says so)"
        failed = own & batch.failed
        broken = replace(batch, rewards=torch.where(failed[:, None], 99.0, batch.rewards))
        assert torch.equal(estimator(broken), advantages), "what a failed trajectory earned does not matter"
    if not getattr(estimator, "needs_values", False) and not coupled:
        alone = batch.group_size() == 1
        assert not bool(advantages[alone].any()), "a group of one gives 0"


def check_transform(transform: Transform) -> None:
    """The rules of the protocol, on the same batch. Raises AssertionError."""
    batch = _specimen()
    advantages = torch.linspace(-1, 1, batch.tokens.numel(), dtype=torch.float64).reshape(batch.tokens.shape) * batch.mask
    values = transform(batch, advantages)
    assert values.shape == batch.tokens.shape, f"shape: expected [B, T], got {tuple(values.shape)}"
    assert values.dtype == advantages.dtype, f"dtype: expected that of the advantages, got {values.dtype}"
    assert bool(values.isfinite().all()), "every advantage is finite"
    assert not bool(values[~batch.mask].any()), "0 outside the mask, failed trajectories included"
    order = torch.arange(len(batch.tokens)).flip(0)
    assert torch.allclose(transform(batch.rows(order), advantages[order]), values[order]), (
        "the order of trajectories does not matter"
    )
    failed = replace(batch, seconds=batch.seconds + batch.failed[:, None], entropies=batch.entropies + batch.failed[:, None])
    assert torch.equal(transform(failed, advantages), values), "what a failed trajectory did does not matter"


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


def check_shaper(shaper: Shaper, scene: Scene | None = None) -> None:
    """The rules of the protocol, on forks, failures and a trajectory without a turn. Raises AssertionError.

    `scene` is what your shaper needs; by default one whose engine scores every token by its number, and nothing else.
    """
    scene = scene or Scene(engine=ScriptedEngine([]))
    task = Task("a", "what?", "this", 0)
    trunk = make_trajectory(task, [0.5, 0.25])
    rollouts = (
        make_trajectory(task, [0.0, 1.0], after=trunk.leaf, outcome=1.0),
        make_trajectory(task, [0.0], after=trunk.leaf, stop=Stop.TRUNCATED),
        make_trajectory(task, [9.0], failure="env"),
        replace(make_trajectory(task, [0.0], failure="env"), leaf=None),
    )
    groups = [Group(task, rollouts), Group(task, rollouts[:1])]
    before, state = _told(groups), start([shaper], scene)[0]
    after = asyncio.run(shape([shaper], groups, [state], scene)).groups
    assert _told(groups) == before, "records are frozen: what came in stays as it was"
    assert _told(asyncio.run(shape([shaper], groups, [state], scene)).groups) == _told(after), (
        "equal input and state, equal output"
    )
    for old, new in zip(groups, after, strict=True):
        assert new.task is old.task and len(new.trajectories) == len(old.trajectories), "no trajectory comes or goes"
        for was, now in zip(old.trajectories, new.trajectories, strict=True):
            assert now.ids == was.ids and now.outcome == was.outcome, "only rewards change, in the order there was"
            assert not was.failed or now.failed, "a failure stays one"
            if not now.failed:
                sums = [sum(turn.reward_terms.values()) for turn in now.turns]
                assert all(abs(turn.reward - total) < 1e-6 for turn, total in zip(now.turns, sums, strict=True)), "terms sum up"
    first, second, *_ = after[0].trajectories
    assert first.turns[1] is second.turns[1], "a turn that forks share stays one object (see add_terms)"


def _told(groups: Sequence[Group]) -> list[list[tuple[float, dict[str, float]]]]:
    return [[(turn.reward, dict(turn.reward_terms)) for turn in t.turns] for group in groups for t in group.trajectories]


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
    step = torch.linspace(-0.2, 0.3, batch.rewards.numel(), dtype=torch.float64).reshape(batch.rewards.shape) * batch.turn_mask
    before = torch.linspace(0.9, 0.1, batch.tokens.numel(), dtype=torch.float64).reshape(batch.tokens.shape)
    return replace(
        batch,
        values=values.reshape(len(batch.rewards), -1),
        token_values=before,
        seconds=1 + batch.rewards.square(),
        entropies=torch.where(batch.mask, before, 0),
        terms={**batch.terms, "implicit_prm": step},
    )
