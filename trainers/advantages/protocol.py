"""What an advantage estimator is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from turnwise.trainers.batch import Batch

__all__ = ["Advantage"]


class Advantage(Protocol):
    """A pure function of a whole batch (one row per trajectory), called once a step before anything is split.

    It keeps the dtype of `batch.rewards` and gives 0 outside `batch.mask`; trajectories of one group never move those of another.
    Failed trajectories are in no baseline and get 0. Estimators that compare within a group give 0 to a group of one.

    An estimator that needs a critic says so with `needs_values: ClassVar[bool] = True` and offers
    `targets(batch) -> [B, K]`, what the critic regresses on where `batch.turn_mask` holds.
    """

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T], in units of reward (or of its spread, where the method divides by that)."""
        ...
