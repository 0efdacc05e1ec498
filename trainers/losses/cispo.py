"""CISPO: clip the importance weight, keep every token's gradient (MiniMax-M1, arXiv:2506.13585, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within

__all__ = ["CISPO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CISPO:
    """-sg(clip(r, 1 - clip_low, 1 + clip_high)) * A * logp; r = current / behaviour, sg stops the gradient.

    Unlike a clipped surrogate, no token loses its gradient: the rare words that turn an argument around are those whose ratio
    moves most. Defaults: no lower bound, weight at most 5, as in ScaleRL (arXiv:2510.13786, which finds 4 to 8 alike).
    """

    clip_low: float = 1.0
    """1 is no lower bound."""
    clip_high: float = 4.0

    def __post_init__(self) -> None:
        within("cispo.clip_low", self.clip_low)
        within("cispo.clip_high", self.clip_high)

    def __call__(self, logprobs: Tensor, advantages: Tensor, batch: Batch) -> Tensor:
        """[B, T]; its gradient in logp is -A * weight. The value itself says nothing about progress."""
        batch.check("cispo", logprobs=(logprobs, "BT"), advantages=(advantages, "BT"))
        weight = batch.log_ratio(logprobs.detach()).exp().clamp(1 - self.clip_low, 1 + self.clip_high)
        return torch.where(batch.mask, -weight * advantages * logprobs, 0)
