"""Entropy-aware advantages: what was said in doubt counts for more (AEPO, arXiv:2510.14545)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch

__all__ = ["EntropyAware"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyAware:
    """A'_t = A_t * (1 + weight * z_t), z_t the z-score of the token's entropy over all sampled tokens of the batch.

    Population spread; equal entropies leave the advantages as they are; a token of a shared turn counts once. Where
    1 + weight * z falls below 0 it is 0: doubt scales credit and never turns it around. **Groups move each other**, by the mean
    and spread of the entropies.
    """

    weight: float = 0.2
    """As in ARLArena's code; the paper's is not known to us."""

    def __call__(self, batch: Batch, advantages: Tensor) -> Tensor:
        batch.check("entropy_aware", advantages=(advantages, "BT"))
        weights = batch.node_weights().to(advantages)
        total = weights.sum().clamp(min=torch.finfo(advantages.dtype).tiny)
        entropies = batch.entropies.to(advantages)
        centred = entropies - (weights * entropies).sum() / total
        spread = ((weights * centred.square()).sum() / total).sqrt()
        z = centred / torch.where(spread > 1e-8, spread, torch.inf)
        return torch.where(batch.mask, advantages * (1 + self.weight * z).clamp(min=0), 0)
