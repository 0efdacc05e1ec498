"""REINFORCE++: the return-to-go, whitened over the tokens of the whole batch (arXiv:2501.03262)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within
from turnwise.trainers.comparison import whitened

__all__ = ["ReinforcePP"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinforcePP:
    """A_t = (x_t - mean x) / sqrt(var x + 1e-8), mean and sample variance (n - 1) over the sampled tokens of the whole batch.

    `baseline = "batch"`: x_t = sum of the rewards from t on, discounted per token, a turn's reward on its last token. `baseline
    = "group"` (REINFORCE++-baseline): x_t = R_i - mean R of the group, for all tokens of trajectory i; a group of one has x =
    0.

    Defined by the batch: **groups move each other**, a group of one has an advantage, and long trajectories weigh more in the
    mean. A batch whose x are all equal (up to rounding), or with one token, gives 0. Tokens that forked rollouts share count
    once. Left out: the KL term in the reward (see the recipe's `kl`).
    """

    couples_groups: ClassVar[bool] = True
    gamma: float = 1.0
    """Discount per token."""
    baseline: Literal["batch", "group"] = "batch"

    def __post_init__(self) -> None:
        within("reinforce_pp.gamma", self.gamma, 0, 1)

    @property
    def per_token(self) -> bool:
        """Whether tokens of a turn differ."""
        return self.baseline == "batch" and self.gamma != 1

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of the batch's spread."""
        scores = self._to_go(batch) if self.baseline == "batch" else self._against_group(batch)
        return whitened(scores, batch.node_weights())

    def _against_group(self, batch: Batch) -> Tensor:
        returns = batch.returns
        centred = returns - batch.group_sum(returns) / batch.group_size().clamp(min=1)
        return torch.where(batch.group_varies(returns), centred, 0)[:, None] * batch.mask

    def _to_go(self, batch: Batch) -> Tensor:
        """[B, T] discounted sum of rewards from each token on."""
        if self.gamma == 1:
            return batch.to_tokens(batch.returns_to_go())
        batch.check_whole("reinforce_pp")  # discounting counts the tokens of all turns
        sampled = (batch.turn >= 0).cumsum(1)
        end = torch.zeros_like(batch.node).scatter_reduce_(1, batch.turn.clamp(min=0), sampled * (batch.turn >= 0), "amax")
        rewards = batch.rewards * batch.turn_mask
        ends = end.cummax(1).values.to(rewards)  # powers of whole numbers would be float32
        tokens = torch.diff(ends, prepend=torch.zeros_like(ends[:, :1]))
        at_end, running = torch.zeros_like(rewards), torch.zeros_like(rewards[:, 0])
        for k in reversed(range(rewards.shape[1])):
            at_end[:, k] = rewards[:, k] + running
            running = self.gamma ** tokens[:, k] * at_end[:, k]
        to_end = ends.gather(1, batch.turn.clamp(min=0)) - sampled
        return self.gamma ** to_end.clamp(min=0) * batch.to_tokens(at_end)
