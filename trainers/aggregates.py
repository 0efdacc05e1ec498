"""How per-token losses become one number: weights [B, T], made once for all rows of an optimiser step.

    loss = (weights * per_token_loss).sum()

The denominator is in the weights, so any partition of the rows (micro-batches, one row per turn, workers) sums to the same
gradient. Tokens of a turn that forked rollouts share lie in several rows; their weights add up to one token's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from turnwise.errors import ConfigError
from turnwise.trainers.batch import Batch

__all__ = ["Aggregate", "Constant", "SequenceMean", "TokenMean"]


class Aggregate(Protocol):
    """Called once with all rows that one optimiser step uses, before they are cut into micro-batches."""

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] weights, 0 outside the mask; all 0 if there is nothing to train."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMean:
    """The mean over all sampled tokens (DAPO, arXiv:2503.14476, section 3.3): long trajectories weigh more, tokens alike."""

    def __call__(self, batch: Batch) -> Tensor:
        weights = batch.node_weights()
        return weights / _at_least_one_token(weights.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceMean:
    """The mean over trajectories of the mean over their tokens (GRPO, GSPO): a long trajectory weighs like a short one."""

    def __call__(self, batch: Batch) -> Tensor:
        weights = batch.node_weights()
        tokens = _per_trajectory(weights, batch)
        count = (tokens > 0).sum().clamp(min=1)
        return weights / (_at_least_one_token(tokens)[batch.trajectory] * count)[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The sum over tokens / (trajectories * length) (Dr. GRPO, arXiv:2503.20783, section 3.2): no bias from lengths at all."""

    length: int = 256
    """Tokens; any fixed number, it only scales the learning rate. About a trajectory's length keeps the scale of `token_mean`."""

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigError(f"aggregate.length: expected at least 1 token, got {self.length}.")

    def __call__(self, batch: Batch) -> Tensor:
        weights = batch.node_weights()
        count = (_per_trajectory(weights, batch) > 0).sum().clamp(min=1)
        return weights / (count * self.length)


def _per_trajectory(weights: Tensor, batch: Batch) -> Tensor:
    """[B, T] -> [1 + largest trajectory number] sums; numbers without rows here are 0."""
    totals = weights.new_zeros(int(batch.trajectory.max()) + 1 if len(batch.trajectory) else 1)
    return totals.index_add_(0, batch.trajectory, weights.sum(1))


def _at_least_one_token(tokens: Tensor) -> Tensor:
    """Denominators of nothing: 0 / 0 is to be 0."""
    return tokens.where(tokens > 0, 1)
