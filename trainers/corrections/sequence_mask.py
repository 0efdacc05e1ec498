"""Sequence mask: whole trajectories that the policy has moved away from are dropped (arXiv:2512.23075)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from turnwise.errors import ConfigError
from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within

__all__ = ["SequenceMask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceMask:
    """1 for trajectories within bounds, 0 for the others, on one number a trajectory; w = proximal / behaviour:

        mean = "geometric"   exp(mean of log w) in [low, high]: any length is treated alike
        mean = "product"     prod of w in [low, high]: long trajectories are dropped first (Seq-MIS has low = 0, high = 2)

    and 0 for a trajectory with a single token of w < veto. Combine it with `tis` for the weights of what is kept.
    """

    mean: Literal["geometric", "product"] = "geometric"
    low: float = 0.99
    high: float = 1.01
    """A kernel's noise stays within 0.1 %, a policy one or two steps old within 1 %."""
    veto: float = 1e-4
    """0 is off."""

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1 <= self.high:
            raise ConfigError(f"correction: expected 0 <= low <= 1 <= high, got low = {self.low}, high = {self.high}.")
        within("sequence_mask.veto", self.veto)

    def __call__(self, logprobs: Tensor, batch: Batch) -> Tensor:
        """[B, T]. Raises ShapeError on a batch split into one row per turn."""
        batch.check_whole("sequence_mask")
        log_ratio = batch.log_ratio(logprobs)
        total = log_ratio.sum(1)
        size = batch.mask.sum(1).clamp(min=1) if self.mean == "geometric" else 1
        value = (total / size).exp()
        keep = (value >= self.low) & (value <= self.high)
        if self.veto:
            keep &= ~(batch.mask & (log_ratio.exp() < self.veto)).any(1)
        return torch.where(batch.mask & keep[:, None], torch.ones_like(log_ratio), 0)
