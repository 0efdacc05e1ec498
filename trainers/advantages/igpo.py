"""IGPO: turn rewards normalised over the group's turns, then summed to go (arXiv:2510.14967)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within
from turnwise.trainers.comparison import Cells

__all__ = ["IGPO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IGPO:
    """A_k = z_k + gamma * A_{k+1}, z = (r - mean) / (std + 1e-6), std = sqrt(population variance + 1e-8).

    Made for information gain as the reward of the turns before the last and the outcome as that of the last; here r_k is
    whatever the turn earned. Which turn is last is structure: a gain of exactly 0 is a gain, and tokens that are masked between
    turns move nothing.

    `together = false` (the release's training script) takes mean and spread of last turns and of earlier turns apart; `true`
    (its library's default) takes them over all turns, and then even identical trajectories get advantages, for their last turn
    beats their first. A cell of one turn gives 0.

    **Warning.** Centred turn rewards summed to go are no baseline: how many of them a trajectory adds up depends on its
    actions. Where rewards differ in mean between staying and leaving, the gradient of that decision can turn its sign
    (docs/conformance.md). Left out: the weights of gain and outcome over training (they belong to the reward shaper).
    """

    gamma: float = 1.0
    """Discount per turn."""
    together: bool = False
    """One mean and spread for all turns."""

    def __post_init__(self) -> None:
        within("igpo.gamma", self.gamma, 0, 1)

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of spreads; 0 for a group of one and for turn rewards that are equal up to rounding."""
        turn = torch.arange(batch.rewards.shape[1], device=batch.rewards.device)
        last = (turn == batch.turns[:, None] - 1).long()
        cells = Cells.of(batch) if self.together else Cells.of(batch, last)
        spread = (cells.variance(batch.rewards, 0) + 1e-8).sqrt() + 1e-6
        normalised = cells.centred(batch.rewards) / spread
        to_go = torch.zeros_like(normalised)
        running = torch.zeros_like(normalised[:, 0])
        for k in reversed(range(normalised.shape[1])):
            running = normalised[:, k] + self.gamma * running
            to_go[:, k] = running
        return batch.to_tokens(torch.where(batch.group_size()[:, None] > 1, to_go, 0))
