"""RLOO: return against the mean return of the others (arXiv:2402.14740, section 3.2; Kool et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch

__all__ = ["RLOO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RLOO:
    """A_i = R_i - mean of R_j over the other surviving trajectories of the group, the same for every token of trajectory i.

    The baseline of a trajectory does not depend on its own actions, so the gradient is unbiased for every group size from 2 on.
    Left out: the paper's KL term in the reward (see the recipe's `kl`).
    """

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of reward; 0 for a group of one and for a group whose returns are equal up to rounding."""
        returns, others = batch.returns, batch.group_size() - 1
        baseline = (batch.group_sum(returns) - returns) / others.clamp(min=1)
        advantage = torch.where(batch.group_varies(returns), returns - baseline, 0)
        return advantage[:, None] * batch.mask
