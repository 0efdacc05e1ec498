"""Turn-level GAE: one value per turn start (Schulman et al., arXiv:1506.02438, eq. 16, with turns as the steps)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from turnwise.errors import ConfigError
from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within

__all__ = ["TurnGAE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnGAE:
    """d_k = r_k + gamma * V_{k+1} - V_k,  A_k = d_k + gamma * lam * A_{k+1}; every token of turn k gets A_k.

    `batch.values` [B, K + 1]: column k is the critic's value of what the policy saw before turn k's first token; column
    `turns[b]` is its value of the conversation after the last turn, and columns beyond that are ignored. The value after the last
    turn counts only where `batch.terminated` is False (a turn or token limit cut the trajectory short), and there if `bootstrap`;
    a terminated trajectory is worth 0 after its end.

    The baseline is the critic, not the group: a group of one has advantages here, and equal returns need not give 0.
    gamma and lam as the turn-level actor-critics use them (Turn-PPO, arXiv:2512.17008); no whitening, which would couple groups.
    """

    needs_values: ClassVar[bool] = True
    gamma: float = 0.99
    """Discount per turn."""
    lam: float = 0.95
    """0 trusts the critic (one turn ahead), 1 trusts the return."""
    bootstrap: bool = True
    """Whether the critic says what a trajectory is worth after it was cut short. False where the limit belongs to the task, as
    the turn limits of our environments do: no target ever corrects that value, and a policy can learn to let its turns run out
    for it (`turn_gae` on Lookup did, docs/evidence.md)."""

    def __post_init__(self) -> None:
        within("turn_gae.gamma", self.gamma, 0, 1)
        within("turn_gae.lam", self.lam, 0, 1)

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of reward. Raises ConfigError without values, ShapeError if they are not [B, K + 1]."""
        return batch.to_tokens(self._per_turn(batch))

    def targets(self, batch: Batch) -> Tensor:
        """[B, K] what the critic should say at each turn start: the lambda-return A_k + V_k; 0 outside the turn mask."""
        advantages = self._per_turn(batch)
        return torch.where(batch.turn_mask, advantages + _values(batch)[:, :-1], 0)

    def _per_turn(self, batch: Batch) -> Tensor:
        values, depth = _values(batch), batch.rewards.shape[1]
        last = torch.arange(depth, device=values.device) == batch.turns[:, None] - 1
        worth_after = torch.where(last, batch.value_after(self.bootstrap)[:, None], values[:, 1:])
        delta = torch.where(batch.turn_mask, batch.rewards + self.gamma * worth_after - values[:, :-1], 0)
        out, running = torch.zeros_like(delta), torch.zeros_like(delta[:, 0])
        for k in reversed(range(depth)):
            running = delta[:, k] + self.gamma * self.lam * running
            out[:, k] = running
        return out


def _values(batch: Batch) -> Tensor:
    if batch.values is None:
        raise ConfigError("turn_gae: expected a batch with values, got none; add a [critic] table to the recipe.")
    batch.check("turn_gae", values=(batch.values, "BV"))
    return batch.values.to(batch.rewards)
