"""Batch: the groups of one step as frozen tensors. Every estimator and loss gets all of it.

Dimensions: B rows (a trajectory each, until `packing` splits them), T tokens of the longest, K turns of the longest.
`turn` says everything about structure: its value is the index of the turn that sampled the token and -1 where the
token is not the policy's; nothing is inferred from values (a reward of 0 is a reward).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from turnwise.errors import ConfigError, ShapeError
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
    trajectory: Tensor
    """[B] int64; rows of one trajectory have equal numbers. Without `split` they are all different."""
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
    seconds: Tensor
    """[B, K] what the environment took for each turn's step; measured, so it differs from run to run."""
    values: Tensor | None = None
    """[B, K + 1] a critic's value at the start of each turn, if the recipe has a critic; column `turns[b]` of row b is the
    value after its last turn (what a next turn would have started from), columns beyond it mean nothing."""
    token_values: Tensor | None = None
    """[B, T] a critic's value before each token, where the mask holds, if the recipe's critic works per token."""
    terms: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Named reward terms, each [B, K]; 0 where the turn has no such term."""
    carries: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """By the same names, [B, K] bool: whether the turn has the term at all (a term of 0 is a term)."""
    split: bool = False
    """Whether a trajectory may lie in several rows (`packing.one_row_per_turn`); what needs whole trajectories refuses then."""

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
    def trains(self) -> Tensor:
        """[B, K] bool; turns of which the row has tokens in the mask."""
        return torch.zeros_like(self.node).scatter_reduce_(1, self.turn.clamp(min=0), self.mask.long(), "amax").bool()

    @property
    def returns(self) -> Tensor:
        """[B] undiscounted return."""
        return (self.rewards * self.turn_mask).sum(1)

    @property
    def turn_ends(self) -> Tensor:
        """[B, K] index of each turn's last sampled token; -1 for a turn without."""
        position = torch.arange(self.tokens.shape[1], device=self.tokens.device).expand_as(self.turn)
        ends = torch.full_like(self.node, -1)
        return ends.scatter_reduce_(1, self.turn.clamp(min=0), torch.where(self.turn >= 0, position, -1), "amax")

    def values_before_tokens(self, where: str) -> Tensor:
        """[B, T] `token_values` in the dtype of the rewards; ConfigError if there are none, ShapeError for another shape."""
        if self.token_values is None:
            raise ConfigError(f'{where}: expected a batch with token values, got none; set critic.level = "token" in the recipe.')
        self.check(where, token_values=(self.token_values, "BT"))
        return self.token_values.to(self.rewards)

    def value_after(self, bootstrap: bool) -> Tensor:
        """[B] `values` after the last turn where a limit cut the trajectory short, 0 where it terminated; or 0 for all."""
        if self.values is None or not bootstrap:
            return torch.zeros_like(self.rewards[:, 0])
        after = self.values.to(self.rewards).gather(1, self.turns[:, None])[:, 0]
        return torch.where(self.terminated, 0, after)

    def returns_to_go(self, gamma: float = 1.0) -> Tensor:
        """[B, K] G_k = r_k + gamma * G_{k+1}: what a trajectory collects from turn k on; 0 outside the turn mask."""
        rewards = self.rewards * self.turn_mask
        out = torch.zeros_like(rewards)
        running = torch.zeros_like(rewards[:, 0])
        for k in reversed(range(rewards.shape[1])):
            running = rewards[:, k] + gamma * running
            out[:, k] = running
        return out

    def to_tokens(self, per_turn: Tensor) -> Tensor:
        """[B, K] -> [B, T]: each token gets its turn's value; 0 outside the mask."""
        self.check("to_tokens", per_turn=(per_turn, "BK"))
        return per_turn.gather(1, self.turn.clamp(min=0)) * self.mask

    def group_sum(self, values: Tensor) -> Tensor:
        """[B] or [B, K] -> same shape: the sum over the group's surviving trajectories, at each member."""
        self.check_whole("group_sum")
        alive = ~self.failed if values.dim() == 1 else self.turn_mask
        totals = values.new_zeros((int(self.group.max()) + 1, *values.shape[1:]))
        totals.index_add_(0, self.group, torch.where(alive, values, 0))
        return totals[self.group]

    def group_size(self) -> Tensor:
        """[B] the number of surviving trajectories in the row's group."""
        return self.group_sum(torch.ones_like(self.rewards[:, 0]))

    def group_varies(self, values: Tensor) -> Tensor:
        """[B] -> [B] bool: whether the group's surviving trajectories differ in it by more than rounding."""
        self.check_whole("group_varies")
        alive, groups = ~self.failed, int(self.group.max()) + 1
        low, high = values.new_full((groups,), torch.inf), values.new_full((groups,), -torch.inf)
        low.scatter_reduce_(0, self.group[alive], values[alive], "amin")
        high.scatter_reduce_(0, self.group[alive], values[alive], "amax")
        rounding = 16 * torch.finfo(values.dtype).eps * torch.maximum(low.abs(), high.abs())
        return ((high - low) > rounding)[self.group]

    def node_weights(self) -> Tensor:
        """[B, T] 1 / (rows that train the token's turn); 0 outside the mask. Tokens that forked rollouts share weigh 1 in all."""
        node = self.node.clamp(min=0)
        trains = self.trains.to(self.rewards)
        rows = trains.new_zeros(int(node.max()) + 1 if len(node) else 1).index_add_(0, node.flatten(), trains.flatten())
        return self.to_tokens(1 / rows.clamp(min=1)[node])

    def log_ratio(self, logprobs: Tensor, limit: float = 20.0) -> Tensor:
        """[B, T] log(current / behaviour) clamped to +-`limit` nats, so that its exp stays finite; 0 outside the mask."""
        self.check("log_ratio", logprobs=(logprobs, "BT"))
        return torch.where(self.mask, logprobs - self.logprobs, 0).clamp(-limit, limit)

    def rows(self, index: Tensor) -> Batch:
        """These rows, as wide as before, so that [B, T] companions are indexed alike. `trim` cuts the padding off."""
        return self._each(lambda tensor: tensor[index])

    def to(self, target: torch.dtype | torch.device) -> Batch:
        """The same batch on another device, or with its floating point tensors in another dtype."""
        if isinstance(target, torch.device):
            return self._each(lambda tensor: tensor.to(target))
        return self._each(lambda tensor: tensor.to(target) if tensor.is_floating_point() else tensor)

    def trim(self) -> Batch:
        """The same rows without the columns that are padding in all of them: T becomes the longest length."""
        width = max(1, int(self.lengths.max()) if len(self.lengths) else 1)
        per_token = ("tokens", "turn", "logprobs", "entropies")
        short = replace(self, **{name: getattr(self, name)[:, :width] for name in per_token})
        return short if self.token_values is None else replace(short, token_values=self.token_values[:, :width])

    def check(self, where: str, **tensors: tuple[Tensor, str]) -> None:
        """Assert shapes: `check("rloo", advantages=(x, "BT"))`. Letters: B, T, K, and V for K + 1. Raises ShapeError."""
        sizes = dict(zip("BTKV", (*self.tokens.shape, self.rewards.shape[1], self.rewards.shape[1] + 1), strict=True))
        for name, (tensor, letters) in tensors.items():
            expected = tuple(sizes[letter] for letter in letters)
            if tuple(tensor.shape) != expected:
                shape = ", ".join(letters).replace("V", "K + 1")
                raise ShapeError(f"{where}: expected {name} as [{shape}] = {expected}, got {tuple(tensor.shape)}.")

    def check_whole(self, where: str) -> None:
        """Refuse rows that are parts of trajectories: their statistics would count long trajectories more often."""
        if self.split:
            raise ShapeError(f"{where}: expected one row per trajectory, got a split batch; do this before one_row_per_turn.")

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {name: change(value) for name, value in values.items() if isinstance(value, Tensor)}
        named = {kind: {name: change(t) for name, t in values[kind].items()} for kind in ("terms", "carries")}
        return replace(self, **changed, **named)


def collate(groups: Sequence[Group], pad_id: int = 0) -> Batch:
    """Groups -> Batch. Trajectories without a single turn (failed at once) become rows of padding, marked failed.

    Raises ShapeError without trajectories, ConfigError for a reward that is not finite.
    """
    rows = [(g, t) for g, group in enumerate(groups) for t in group.trajectories]
    if not rows:
        raise ShapeError("collate: no trajectories; a batch needs at least one.")
    for trajectory, k, reward in ((t, k, turn.reward) for _, t in rows for k, turn in enumerate(t.turns)):
        if not math.isfinite(reward):
            raise ConfigError(f"collate: the reward of turn {k} of task {trajectory.task.id!r} is {reward}; rewards are finite.")
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
        trajectory=torch.arange(len(rows)),
        node=ids_per_turn([[nodes.setdefault(id(turn), len(nodes)) for turn in t.turns] for t in trajectories]),
        state=ids_per_turn([[states.setdefault(turn.state, len(states)) for turn in t.turns] for t in trajectories]),
        outcome=torch.tensor([t.outcome for t in trajectories], dtype=torch.float32),
        failed=torch.tensor([t.failed for t in trajectories], dtype=torch.bool),
        terminated=torch.tensor([t.stop is Stop.TERMINATED for t in trajectories], dtype=torch.bool),
        seconds=per_turn([[turn.duration_s for turn in t.turns] for t in trajectories]),
        terms={n: per_turn([[float(turn.reward_terms.get(n, 0.0)) for turn in t.turns] for t in trajectories]) for n in names},
        carries={n: per_turn([[float(n in turn.reward_terms) for turn in t.turns] for t in trajectories]).bool() for n in names},
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
