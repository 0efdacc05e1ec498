"""REINFORCE: the plain score-function gradient (Williams 1992)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch

__all__ = ["Reinforce"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinforce:
    """-A * logp. Exact on policy; it corrects for nothing, so take one optimiser step per batch (or `ppo_clip`, `cispo`)."""

    def __call__(self, logprobs: Tensor, advantages: Tensor, batch: Batch) -> Tensor:
        """[B, T]; its gradient in logp is -A. The value itself says nothing about progress."""
        batch.check("reinforce", logprobs=(logprobs, "BT"), advantages=(advantages, "BT"))
        return torch.where(batch.mask, -advantages * logprobs, 0)
