"""GSPO: one importance ratio per sequence, the geometric mean over its tokens (arXiv:2507.18071, eq. 7 and 14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within

__all__ = ["GSPO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GSPO:
    """max(-A s, -A clip(s, 1 - clip_low, 1 + clip_high)) with s_t = sg(s) * p_t / sg(p_t), s = exp(mean of log(p / behaviour)).

    The mean (not the sum) of the log-ratios keeps s near 1 at any length, hence the narrow range. `level = "turn"` has one ratio
    per turn: a late turn that drifted does not clip the first one. This is the paper's token form, which lets turns have
    different advantages; pair it with `aggregate: sequence_mean` for the paper's objective.

    The trajectory's ratio needs all its tokens in one row: `level = "trajectory"` refuses a batch split into one row per turn.
    """

    level: Literal["trajectory", "turn"] = "trajectory"
    clip_low: float = 3e-4
    clip_high: float = 4e-4

    def __post_init__(self) -> None:
        within("gspo.clip_low", self.clip_low, 0, 1)
        within("gspo.clip_high", self.clip_high)

    def __call__(self, logprobs: Tensor, advantages: Tensor, batch: Batch) -> Tensor:
        """[B, T]. Raises ShapeError for the level "trajectory" on a split batch."""
        batch.check("gspo", logprobs=(logprobs, "BT"), advantages=(advantages, "BT"))
        if self.level == "trajectory":
            batch.check_whole("gspo with level = 'trajectory'")
        mean = self._mean(batch.log_ratio(logprobs.detach()), batch)
        own = torch.where(batch.mask, logprobs - logprobs.detach(), 0)  # 0, with the gradient of logp
        ratio = (mean.clamp(-10, 10) + own).exp()
        clipped = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        loss = torch.maximum(-advantages * ratio, -advantages * clipped)
        return torch.where(batch.mask, loss, 0)

    def _mean(self, log_ratio: Tensor, batch: Batch) -> Tensor:
        """[B, T] mean log-ratio of the trajectory or turn that a token belongs to."""
        if self.level == "trajectory":
            return (log_ratio.sum(1) / batch.mask.sum(1).clamp(min=1))[:, None].expand_as(log_ratio)
        turn = batch.turn.clamp(min=0)
        per_turn = log_ratio.new_zeros(batch.rewards.shape)
        total = per_turn.scatter_add(1, turn, log_ratio)
        count = per_turn.scatter_add(1, turn, batch.mask.to(log_ratio))
        return (total / count.clamp(min=1)).gather(1, turn)
