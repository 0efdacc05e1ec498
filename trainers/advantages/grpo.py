"""GRPO: return against the group's mean, in units of its spread (DeepSeekMath, arXiv:2402.03300, section 4.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within

__all__ = ["GRPO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPO:
    """A_i = (R_i - mean R) / (std R + eps), the same for every token of trajectory i.

    Mean and sample standard deviation (n - 1) are over the surviving trajectories of the group; R is the undiscounted return.
    Without `std` the expected gradient is exactly (n - 1) / n of the true one; dividing by a spread that is itself random bends
    its direction (measured in docs/estimators.md). Left out: the process-supervised variant.
    """

    std: bool = True
    """Divide by the group's spread."""
    eps: float = 1e-6
    """Added to the spread, in units of reward."""

    def __post_init__(self) -> None:
        within("grpo.eps", self.eps)

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T]; 0 for a group of one and for a group whose returns are equal up to rounding."""
        returns, size = batch.returns, batch.group_size()
        centred = returns - batch.group_sum(returns) / size.clamp(min=1)
        if self.std:
            variance = batch.group_sum(centred.square()) / (size - 1).clamp(min=1)
            centred = centred / (variance.sqrt() + self.eps)
        advantage = torch.where(batch.group_varies(returns), centred, 0)
        return advantage[:, None] * batch.mask
