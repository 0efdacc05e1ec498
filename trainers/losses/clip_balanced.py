"""Entropy-balanced clipping: the ratio is capped as in PPO, the gradient of what is capped survives (AEPO, arXiv:2510.14545)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within

__all__ = ["ClipBalanced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipBalanced:
    """-A * ratio, with ratio r = current / behaviour replaced where PPO would clip:

        A > 0, r > 1 + clip_high:  (1 + clip_high) * r / sg(r), whose value is the bound and whose gradient is the bound's
        A < 0, r < 1 - clip_low:   1 - clip_low, no gradient

    so that the rare tokens at which a trajectory turns keep pushing with a bounded weight. The gradient in logp is -A times
    1 + clip_high, 0, or r. sg stops the gradient. (A re-implementation that we know of keeps the gradient of low-entropy tokens
    alone, against the paper's own reason.)
    """

    clip_low: float = 0.2
    clip_high: float = 0.28

    def __post_init__(self) -> None:
        within("clip_balanced.clip_low", self.clip_low, 0, 1)
        within("clip_balanced.clip_high", self.clip_high)

    def __call__(self, logprobs: Tensor, advantages: Tensor, batch: Batch) -> Tensor:
        """[B, T]; 0 outside the mask."""
        batch.check("clip_balanced", logprobs=(logprobs, "BT"), advantages=(advantages, "BT"))
        ratio = batch.log_ratio(logprobs).exp()
        upper = (1 + self.clip_high) * ratio / ratio.detach()
        ratio = torch.where((advantages > 0) & (ratio > 1 + self.clip_high), upper, ratio)
        ratio = torch.where((advantages < 0) & (ratio < 1 - self.clip_low), 1 - self.clip_low, ratio)
        return torch.where(batch.mask, -advantages * ratio, 0)
