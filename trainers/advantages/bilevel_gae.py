"""Bi-level GAE: GAE over turns, then GAE over the tokens of each turn towards its turn's target (VAGEN; RAGEN,
arXiv:2504.20073)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within
from turnwise.trainers.comparison import whitened

__all__ = ["BilevelGAE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BilevelGAE:
    """Turns: d_k = r_k + turn_gamma * V(e_{k+1}) - V(e_k), A_k = d_k + turn_gamma * lam * A_{k+1}, U_k = A_k + V(e_k), where
    e_k is turn k's last token. Tokens of turn k: d_t = gamma * V(t+1) - V(t), at e_k: U_k - V(e_k); A_t = d_t + gamma * lam *
    A_{t+1}, anew in each turn.

    V(t) is the critic's value before token t, `Batch.token_values` (`critic.level = "token"`). Where turns end is structure,
    never a reward that is not 0: a turn that earned 0 is a turn. After a last turn that was cut short, V of the
    conversation's end counts (`Batch.values`), if `bootstrap`. A turn without sampled tokens passes its reward on to the turn
    before.

    `whiten` (the release does) makes mean 0 and variance 1 of the whole batch's tokens, and **then groups move each other**. As
    with every critic, a group of one has advantages and equal returns need not give 0.
    """

    needs_values: ClassVar[bool] = True
    needs_token_values: ClassVar[bool] = True
    per_token: ClassVar[bool] = True
    turn_gamma: float = 0.95
    """Discount per turn."""
    gamma: float = 1.0
    """Discount per token within a turn."""
    lam: float = 1.0
    bootstrap: bool = True
    """False where the limit that cuts a trajectory short belongs to the task; see `turn_gae`."""
    whiten: bool = False

    def __post_init__(self) -> None:
        within("bilevel_gae.turn_gamma", self.turn_gamma, 0, 1)
        within("bilevel_gae.gamma", self.gamma, 0, 1)
        within("bilevel_gae.lam", self.lam, 0, 1)

    @property
    def couples_groups(self) -> bool:
        """Whether groups move each other."""
        return self.whiten

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of reward (whitened: of the batch's spread). Raises ConfigError without token values."""
        advantages = self._raw(batch)
        return whitened(advantages, batch.node_weights()) if self.whiten else advantages

    def targets(self, batch: Batch) -> Tensor:
        """[B, T] what the critic should say before each token: A_t + V_t, before whitening; 0 outside the mask."""
        return torch.where(batch.mask, self._raw(batch) + batch.values_before_tokens("bilevel_gae"), 0)

    def _raw(self, batch: Batch) -> Tensor:
        batch.check_whole("bilevel_gae")  # a turn's target needs where the next one ends
        values, ends, mask = batch.values_before_tokens("bilevel_gae"), batch.turn_ends, batch.mask
        at = batch.turn.clamp(min=0)
        last = ends.gather(1, at) == torch.arange(values.shape[1], device=values.device)
        target = self._turn_targets(batch, values, ends).gather(1, at)
        out, running = torch.zeros_like(values), torch.zeros_like(values[:, 0])
        following = torch.zeros_like(running)  # V of the turn's next token
        for t in reversed(range(values.shape[1])):
            onwards = self.gamma * (following + self.lam * running)
            advantage = torch.where(last[:, t], target[:, t], onwards) - values[:, t]
            running = torch.where(mask[:, t], advantage, running)
            following = torch.where(mask[:, t], values[:, t], following)
            out[:, t] = running
        return torch.where(mask, out, 0)

    def _turn_targets(self, batch: Batch, values: Tensor, ends: Tensor) -> Tensor:
        """[B, K] U_k."""
        at_end = values.gather(1, ends.clamp(min=0))
        following = batch.value_after(self.bootstrap)
        running = torch.zeros_like(following)
        out, turns = torch.zeros_like(at_end), batch.turn_mask
        for k in reversed(range(ends.shape[1])):
            exists, silent = turns[:, k], ends[:, k] < 0
            delta = batch.rewards[:, k] + self.turn_gamma * following - at_end[:, k]
            advantage = delta + self.turn_gamma * self.lam * running
            out[:, k] = torch.where(exists & ~silent, advantage + at_end[:, k], 0)
            passed_on = batch.rewards[:, k] + self.turn_gamma * following
            following = torch.where(exists, torch.where(silent, passed_on, at_end[:, k]), following)
            running = torch.where(exists, torch.where(silent, self.turn_gamma * self.lam * running, advantage), running)
        return out
