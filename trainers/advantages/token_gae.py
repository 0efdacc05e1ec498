"""Token-level GAE over the sampled tokens of all turns (arXiv:1506.02438, eq. 16; for agents, arXiv:2510.01132)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within

__all__ = ["TokenGAE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGAE:
    """d_t = r_t + gamma * V_{t+1} - V_t, A_t = d_t + gamma * lam * A_{t+1}; t + 1 is the next *sampled* token, in the next turn
    if need be.

    A turn's reward lies on its last sampled token (of a turn without any, on the last one before it), so no observation token
    between turns can swallow it. V_t is the critic's value before token t, `Batch.token_values` (`critic.level = "token"`).
    After the last token V (`Batch.values`) counts only where a limit cut the trajectory short, and there if `bootstrap`.

    The baseline is the critic: a group of one has advantages, and equal returns need not give 0. gamma = 1 is the paper's, lam
    = 0.95 ours. Left out: whitening over the batch, which couples groups, and the KL term in the reward (see the recipe's
    `kl`).
    """

    needs_values: ClassVar[bool] = True
    needs_token_values: ClassVar[bool] = True
    per_token: ClassVar[bool] = True
    gamma: float = 1.0
    """Discount per sampled token."""
    lam: float = 0.95
    """0 trusts the critic (one token ahead), 1 trusts the return."""
    bootstrap: bool = True
    """False where the limit that cuts a trajectory short belongs to the task; see `turn_gae`."""

    def __post_init__(self) -> None:
        within("token_gae.gamma", self.gamma, 0, 1)
        within("token_gae.lam", self.lam, 0, 1)

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of reward. Raises ConfigError without token values."""
        batch.check_whole("token_gae")
        values, rewards, mask = batch.values_before_tokens("token_gae"), _on_last_tokens(batch), batch.mask
        following = batch.value_after(self.bootstrap)
        out, running = torch.zeros_like(values), torch.zeros_like(following)
        for t in reversed(range(values.shape[1])):
            delta = rewards[:, t] + self.gamma * following - values[:, t]
            running = torch.where(mask[:, t], delta + self.gamma * self.lam * running, running)
            following = torch.where(mask[:, t], values[:, t], following)
            out[:, t] = running
        return torch.where(mask, out, 0)

    def targets(self, batch: Batch) -> Tensor:
        """[B, T] what the critic should say before each token: A_t + V_t; 0 outside the mask."""
        return torch.where(batch.mask, self(batch) + batch.values_before_tokens("token_gae"), 0)


def _on_last_tokens(batch: Batch) -> Tensor:
    """[B, T] each turn's reward on the last token sampled up to its end."""
    ends = batch.turn_ends.cummax(1).values
    rewards = torch.where(batch.turn_mask & (ends >= 0), batch.rewards, 0)
    return torch.zeros_like(batch.logprobs, dtype=rewards.dtype).scatter_add_(1, ends.clamp(min=0), rewards)
