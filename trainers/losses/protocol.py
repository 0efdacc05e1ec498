"""What a policy loss is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from turnwise.trainers.batch import Batch

__all__ = ["Loss"]


class Loss(Protocol):
    """A pure function of per-token tensors. It sums nothing: weights and the one denominator come from `trainers.aggregates`.

    `batch` may be any rows of the step's batch (a micro-batch, or one row per turn), so a loss looks at no other row.
    """

    def __call__(self, logprobs: Tensor, advantages: Tensor, batch: Batch) -> Tensor:
        """Current log-probabilities [B, T], advantages [B, T], the rows themselves -> loss [B, T], 0 outside `batch.mask`.

        The behaviour policy's log-probabilities are `batch.logprobs`. Raises ShapeError on a wrong shape.
        """
        ...
