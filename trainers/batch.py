"""Batch: the groups of one step as frozen tensors. Every estimator and loss gets all of it.

Dimensions: B trajectories, T tokens of the longest, K turns of the longest. `turn` says everything about structure:
its value is the index of the turn that sampled the token and -1 where the token is not the policy's; nothing is
inferred from values (a reward of 0 is a reward).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from turnwise.errors import ShapeError
from turnwise.types import Group, Stop, Trajectory

__all__ = ["Batch", "collate"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """The trajectories of one training step, credit not yet assigned."""

    tokens: Tensor
    """[B, T] int64; `pad_id` after the end."""
    turn: Tensor
    """[B, T] int64; index of the turn that sampled the token, -1 for context and padding."""
    logprobs: Tensor
    """[B, T] of the behaviour policy, nats; 0 where turn < 0."""
    entropies: Tensor
    """[B, T] of the behaviour policy, nats; 0 where turn < 0."""
    lengths: Tensor
    """[B] int64; tokens of the trajectory, context included."""
    rewards: Tensor
    """[B, K] the reward of each turn, all terms summed; 0 beyond the last turn."""
    turns: Tensor
    """[B] int64; number of turns."""
    group: Tensor
    """[B] int64; trajectories of one task have equal numbers."""
    node: Tensor
    """[B, K] int64; equal numbers are the same shared Turn; -1 beyond the last turn."""
    state: Tensor
    """[B, K] int64; equal numbers are equal observations (anchor states); -1 beyond the last turn."""
    outcome: Tensor
    """[B] how far the task was solved, in [0, 1]."""
    failed: Tensor
    """[B] bool; True keeps a trajectory out of every baseline and loss."""
    terminated: Tensor
    """[B] bool; False is truncated: a critic may bootstrap there."""
    values: Tensor | None = None
    """[B, K] a critic's value at the start of each turn, if the recipe has a critic."""
    terms: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Named reward terms, each [B, K]."""

    @property
    def mask(self) -> Tensor:
        """[B, T] bool; tokens the policy sampled in trajectories that did not fail."""
        return (self.turn >= 0) & ~self.failed[:, None]

    @property
    def turn_mask(self) -> Tensor:
        """[B, K] bool; turns that exist in trajectories that did not fail."""
        index = torch.arange(self.rewards.shape[1], device=self.rewards.device)
        return (index < self.turns[:, None]) & ~self.failed[:, None]

    @property
    def returns(self) -> Tensor:
        """[B] undiscounted return."""
        return (self.rewards * self.turn_mask).sum(1)

    def to_tokens(self, per_turn: Tensor) -> Tensor:
        """[B, K] -> [B, T]: each token gets its turn's value; 0 outside the mask."""
        if per_turn.shape != self.rewards.shape:
            raise ShapeError(f"to_tokens: expected [B, K] = {tuple(self.rewards.shape)}, got {tuple(per_turn.shape)}.")
        return per_turn.gather(1, self.turn.clamp(min=0)) * self.mask

    def group_sum(self, values: Tensor) -> Tensor:
        """[B] or [B, K] -> same shape: the sum over the group's surviving trajectories, at each member."""
        alive = ~self.failed if values.dim() == 1 else self.turn_mask
        totals = values.new_zeros((int(self.group.max()) + 1, *values.shape[1:]))
        totals.index_add_(0, self.group, values * alive)
        return totals[self.group]


def collate(groups: Sequence[Group], pad_id: int = 0) -> Batch:
    """Groups -> Batch. Trajectories without a single turn (failed at once) become rows of padding, marked failed."""
    rows = [(g, t) for g, group in enumerate(groups) for t in group.trajectories]
    if not rows:
        raise ShapeError("collate: no trajectories; a batch needs at least one.")
    width = max(1, *(len(t.ids) for _, t in rows))
    depth = max(1, *(len(t.turns) for _, t in rows))
    names = sorted({name for _, t in rows for turn in t.turns for name in turn.reward_terms})
    nodes: dict[int, int] = {}
    states: dict[str, int] = {}

    def per_turn(values: list[list[float]]) -> Tensor:
        return torch.tensor([v + [0.0] * (depth - len(v)) for v in values], dtype=torch.float32)

    def ids_per_turn(values: list[list[int]]) -> Tensor:
        return torch.tensor([v + [-1] * (depth - len(v)) for v in values], dtype=torch.int64)

    trajectories = [t for _, t in rows]
    return Batch(
        tokens=torch.tensor([[*t.ids, *[pad_id] * (width - len(t.ids))] for t in trajectories], dtype=torch.int64),
        turn=torch.tensor([[*t.turn_of_token, *[-1] * (width - len(t.ids))] for t in trajectories], dtype=torch.int64),
        logprobs=_per_token(trajectories, "logprobs", width),
        entropies=_per_token(trajectories, "entropies", width),
        lengths=torch.tensor([len(t.ids) for t in trajectories], dtype=torch.int64),
        rewards=per_turn([[turn.reward for turn in t.turns] for t in trajectories]),
        turns=torch.tensor([len(t.turns) for t in trajectories], dtype=torch.int64),
        group=torch.tensor([g for g, _ in rows], dtype=torch.int64),
        node=ids_per_turn([[nodes.setdefault(id(turn), len(nodes)) for turn in t.turns] for t in trajectories]),
        state=ids_per_turn([[states.setdefault(turn.state, len(states)) for turn in t.turns] for t in trajectories]),
        outcome=torch.tensor([t.outcome for t in trajectories], dtype=torch.float32),
        failed=torch.tensor([t.failed for t in trajectories], dtype=torch.bool),
        terminated=torch.tensor([t.stop is Stop.TERMINATED for t in trajectories], dtype=torch.bool),
        terms={n: per_turn([[float(turn.reward_terms.get(n, 0.0)) for turn in t.turns] for t in trajectories]) for n in names},
    )


def _per_token(trajectories: Sequence[Trajectory], name: str, width: int) -> Tensor:
    out = torch.zeros(len(trajectories), width)
    for row, trajectory in enumerate(trajectories):
        at = 0
        for turn in trajectory.turns:
            at += len(turn.context_ids)
            values: tuple[float, ...] = getattr(turn, name)
            if values and len(values) != len(turn.action_ids):
                raise ShapeError(f"collate: {name} has {len(values)} entries for {len(turn.action_ids)} sampled tokens.")
            if values:
                out[row, at : at + len(values)] = torch.tensor(values)
            at += len(turn.action_ids)
    return out
