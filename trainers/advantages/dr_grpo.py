"""Dr. GRPO: return against the group's mean, undivided (arXiv:2503.20783, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch

__all__ = ["DrGRPO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrGRPO:
    """A_i = R_i - mean R over the surviving trajectories of the group, the same for every token of trajectory i.

    The expected gradient is exactly (n - 1) / n of the true one. The paper's other half, a constant in place of the length
    in the denominator of the loss, is `aggregate: constant`.
    """

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of reward; 0 for a group of one and for a group whose returns are equal up to rounding."""
        returns = batch.returns
        centred = returns - batch.group_sum(returns) / batch.group_size().clamp(min=1)
        return torch.where(batch.group_varies(returns), centred, 0)[:, None] * batch.mask
