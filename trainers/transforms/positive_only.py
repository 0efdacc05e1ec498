"""Positive-advantage filtering: only what went better than expected is trained (Odysseus, arXiv:2605.00347)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch

__all__ = ["PositiveOnly"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositiveOnly:
    """A'_t = max(A_t, 0). The critic still learns from all turns; filtered tokens stay in the loss's denominator.

    No signal is left that lowers a probability but the rise of others, so entropy falls: watch the alarm, or give the recipe an
    entropy bonus.
    """

    def __call__(self, batch: Batch, advantages: Tensor) -> Tensor:
        batch.check("positive_only", advantages=(advantages, "BT"))
        return torch.where(batch.mask, advantages.clamp(min=0), 0)
