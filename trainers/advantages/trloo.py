"""TRLOO: leave-one-out of the return-to-go at each turn (Dr. Kernel, arXiv:2602.05885)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within

__all__ = ["TRLOO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TRLOO:
    """A_{i,k} = G_{i,k} - mean of G_{j,k} over the other surviving trajectories of the group that have a turn k.

    G_{i,k} = r_{i,k} + gamma * G_{i,k+1}. A turn is judged by what came at and after it; rewards of earlier turns add no noise.

    A turn that no other trajectory reached has no such mean. The paper then takes the raw return-to-go, which pushes up whatever
    the last survivor of a group did, also when every trajectory of it succeeded. Here the baseline is then the mean of the
    others' return-to-go at their own last turns. Either baseline is a function of the other trajectories only, hence unbiased
    (docs/estimators.md has the enumeration and the variances); this one keeps groups in which all end alike at 0.
    """

    gamma: float = 1.0
    """Discount per turn."""
    raw_singletons: bool = False
    """The paper's rule for turns that no other trajectory reached: no baseline at all."""

    def __post_init__(self) -> None:
        within("trloo.gamma", self.gamma, 0, 1)

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of reward; 0 for a group of one, and wherever all returns-to-go of a turn are equal."""
        to_go, exists = batch.returns_to_go(self.gamma), batch.turn_mask
        peers = batch.group_sum(torch.ones_like(to_go)) - 1
        baseline = (batch.group_sum(to_go) - to_go) / peers.clamp(min=1)
        alone = exists & (peers < 1)
        baseline = torch.where(alone, 0 if self.raw_singletons else _others_at_their_end(batch, to_go)[:, None], baseline)
        advantage = _rounded(to_go - baseline, torch.maximum(to_go.abs(), baseline.abs()))
        in_a_group = batch.group_size() > 1
        return batch.to_tokens(torch.where(in_a_group[:, None] & exists, advantage, 0))


def _others_at_their_end(batch: Batch, to_go: Tensor) -> Tensor:
    """[B] mean over the other trajectories of the group of the return-to-go at their last turn."""
    end = to_go.gather(1, (batch.turns - 1).clamp(min=0)[:, None])[:, 0]
    return (batch.group_sum(end) - end) / (batch.group_size() - 1).clamp(min=1)


def _rounded(difference: Tensor, scale: Tensor) -> Tensor:
    """Differences that are only rounding become 0, so that equal returns give advantages of exactly 0."""
    return torch.where(difference.abs() > 16 * torch.finfo(scale.dtype).eps * scale, difference, 0)
