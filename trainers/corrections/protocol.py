"""What a correction is: how much a sampled token may still teach, when the policy that sampled it is not the one that learns."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from turnwise.trainers.batch import Batch

__all__ = ["Correction"]


class Correction(Protocol):
    """A pure function of per-token tensors: weights [B, T] that the loss is multiplied with, no gradient, 0 is "drop".

    The learner's log-probabilities before its first step of the batch (the proximal policy) against those that were sampled with
    (`batch.logprobs`, kept per token, mixed versions included): w = proximal / behaviour. With a correction the loss sees the
    proximal policy's log-probabilities as `batch.logprobs`, so a clipped ratio is current / proximal, and staleness is corrected
    here and nowhere else (decoupled PPO, arXiv:2505.24298, eq. 5).

    What is dropped stays in the denominator: splitting a batch changes no gradient, and a step with many dropped tokens is small.
    `batch` may be any rows of the step's batch, so a correction looks at no other row; what speaks of a whole trajectory needs it
    in one row (`Batch.check_whole`).
    """

    def __call__(self, logprobs: Tensor, batch: Batch) -> Tensor:
        """Proximal log-probabilities [B, T], the rows -> weights [B, T]; what they are outside `batch.mask` does not matter."""
        ...
