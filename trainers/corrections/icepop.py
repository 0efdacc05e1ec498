"""IcePop: tokens whose probability moved too far are dropped, the others weigh what they weigh (arXiv:2510.18855)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.errors import ConfigError
from turnwise.trainers.batch import Batch

__all__ = ["IcePop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IcePop:
    """w where low <= w <= high, else 0; w = proximal / behaviour. Defaults are the paper's."""

    low: float = 0.5
    high: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1 <= self.high:
            raise ConfigError(f"correction: expected 0 <= low <= 1 <= high, got low = {self.low}, high = {self.high}.")

    def __call__(self, logprobs: Tensor, batch: Batch) -> Tensor:
        """[B, T]"""
        weight = batch.log_ratio(logprobs).exp()
        return torch.where((weight >= self.low) & (weight <= self.high), weight, 0)
