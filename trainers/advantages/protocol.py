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

    All tokens of a turn have one advantage, unless the method says `per_token = True`.

    A method that is defined by statistics of the whole batch says so with `couples_groups = True`: there groups do move each
    other, and a group of one may have an advantage.

    An estimator that needs a critic says so with `needs_values: ClassVar[bool] = True` and offers
    `targets(batch) -> [B, K]`, what the critic regresses on where `batch.turn_mask` holds. With `needs_token_values = True` as
    well, its critic works per token and the targets are [B, T], where `batch.mask` holds.
    """

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T], in units of reward (or of its spread, where the method divides by that)."""
        ...
