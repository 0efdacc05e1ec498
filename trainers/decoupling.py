"""Samples of one policy, an update of another: corrections carried out, and what they did as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.corrections.protocol import Correction

__all__ = ["decoupled", "trust_metrics"]


def decoupled(corrections: Sequence[Correction], proximal: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
    """What each token weighs [B, T] (the corrections' product), and the batch as the loss shall see it: sampled by the
    proximal policy, whose log-probabilities [B, T] are given."""
    weights = torch.ones_like(proximal)
    for correction in corrections:
        weights = weights * correction(proximal, batch)
    logprobs = torch.where(batch.mask, proximal, 0).to(batch.logprobs)
    return torch.where(batch.mask, weights, 0), replace(batch, logprobs=logprobs)


def trust_metrics(weights: Tensor, batch: Batch) -> dict[str, float]:
    """Over trained tokens: their mean weight, and the share that was dropped."""
    values = weights[batch.mask].double()
    if not len(values):
        return {}
    return {"correction_mean": float(values.mean()), "correction_dropped": float((values == 0).double().mean())}
