"""What an advantage transform is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from turnwise.trainers.batch import Batch

__all__ = ["Transform"]


class Transform(Protocol):
    """A pure function of a whole batch (one row per trajectory) and the advantages so far; a recipe applies its list in order.

    It keeps shape and dtype and gives 0 outside `batch.mask`. The critic's targets are the estimator's, before any transform.
    """

    def __call__(self, batch: Batch, advantages: Tensor) -> Tensor:
        """[B, T] -> [B, T]."""
        ...
