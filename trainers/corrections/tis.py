"""Truncated importance sampling per token (TIS; arXiv:2512.23075 calls it token TIS): min(w, cap)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from turnwise.errors import ConfigError
from turnwise.trainers.batch import Batch

__all__ = ["TIS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TIS:
    """min(w, cap), w = proximal / behaviour. The mildest of the corrections: no token is dropped, no weight explodes."""

    cap: float = 2.0
    """2 to 10 are in use."""

    def __post_init__(self) -> None:
        if not self.cap > 0:
            raise ConfigError(f"correction.cap: expected above 0, got {self.cap}.")

    def __call__(self, logprobs: Tensor, batch: Batch) -> Tensor:
        """[B, T]"""
        return batch.log_ratio(logprobs).exp().clamp(max=self.cap)
