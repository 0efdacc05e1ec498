"""EMPG: steps scaled by their confidence, and a bonus for leading to a clear next step (arXiv:2509.09265)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within
from turnwise.trainers.comparison import through_node

__all__ = ["EMPG"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EMPG:
    """A'_k = A_k * g(h_k) + zeta * f(h_{k+1}), then minus the mean of A' over all turns of the batch.

    h_k: mean entropy of turn k's sampled tokens, min-max normalised over the batch's turns, (h - min) / (max - min + 1e-8).
    g(h) = exp(-k h) / (mean of exp(-k h) over the turns + 1e-8) has mean 1; f(h) = exp(-k_future h), 0 after a trajectory's
    last turn.

    Entropies are the sampling distribution's, recorded while sampling, without gradient. A shared turn counts once in every mean
    (its bonus is that of each row's own next turn). Turns without sampled tokens are no steps.

    Defined by the batch: **groups move each other**, and a group without variance, whose advantages were 0, gets the bonus
    and the centring. Where all entropies are equal g = 1 and only last turns differ, by the bonus.
    """

    k: float = 1.0
    """Sharpness of the scaling."""
    k_future: float = 1.0
    """Sharpness of the bonus."""
    zeta: float = 0.05
    """Weight of the bonus, in units of the advantages. 0.05 in ARLArena's code, 0.1 in another; the paper's is not known to
    us."""

    def __post_init__(self) -> None:
        within("empg.k", self.k)
        within("empg.k_future", self.k_future)

    def __call__(self, batch: Batch, advantages: Tensor) -> Tensor:
        batch.check("empg", advantages=(advantages, "BT"))
        steps = batch.turn_mask & batch.trains
        if not bool(steps.any()):
            return advantages
        weight = steps / through_node(batch, torch.ones_like(batch.returns)).clamp(min=1)
        entropy = _turn_mean(batch, batch.entropies.to(advantages))
        low, high = entropy[steps].min(), entropy[steps].max()
        level = torch.where(steps, (entropy - low) / (high - low + 1e-8), 0)
        confidence = torch.exp(-self.k * level)
        scale = confidence / ((weight * confidence).sum() / weight.sum() + 1e-8)
        after = torch.zeros_like(level)
        after[:, :-1] = torch.where(steps[:, 1:], torch.exp(-self.k_future * level[:, 1:]), 0)
        modulated = advantages * batch.to_tokens(scale) + self.zeta * batch.to_tokens(after)
        centre = (weight * _turn_mean(batch, modulated)).sum() / weight.sum()
        return torch.where(batch.mask, modulated - centre, 0)


def _turn_mean(batch: Batch, per_token: Tensor) -> Tensor:
    """[B, T] -> [B, K] mean over each turn's sampled tokens; 0 for a turn without."""
    at = batch.turn.clamp(min=0)
    total = torch.zeros_like(batch.rewards, dtype=per_token.dtype).scatter_add_(1, at, per_token * batch.mask)
    count = torch.zeros_like(total).scatter_add_(1, at, batch.mask.to(per_token))
    return total / count.clamp(min=1)
