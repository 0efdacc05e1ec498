"""What estimators compare with: turns that lie in one cell, each shared turn counted once, failures left out.

A cell is a set of turns whose rewards or returns have one mean: all turns of a group, those at one turn index, those that saw
the same observation. Forked rollouts repeat a shared turn in several rows; there its values may differ (the futures do), and the
turn weighs 1 in all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch

__all__ = ["Cells", "rounded", "through_node", "whitened"]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A partition of the turns of a batch; every method gives [B, K], at each member, and 0 outside the cells."""

    index: Tensor
    """[B, K] int64; equal numbers are one cell."""
    weight: Tensor
    """[B, K] share of a distinct turn that this row stands for; 0 outside the cells."""

    @staticmethod
    def of(batch: Batch, *keys: Tensor, where: Tensor | None = None) -> Cells:
        """Cells of a group's surviving turns with equal `keys` (each [B, K] int64), of those for which `where` [B, K] holds."""
        batch.check_whole("comparison")
        inside = batch.turn_mask if where is None else batch.turn_mask & where
        columns = [batch.group[:, None].expand_as(inside), *keys]
        _, index = torch.unique(torch.stack([column.flatten() for column in columns]), dim=1, return_inverse=True)
        rows = through_node(batch, torch.ones_like(batch.rewards[:, 0]))
        return Cells(index.reshape(inside.shape), inside / rows.clamp(min=1))

    def sum(self, values: Tensor) -> Tensor:
        totals = values.new_zeros(int(self.index.max()) + 1)
        totals.index_add_(0, self.index.flatten(), torch.where(self.weight > 0, values * self.weight, 0).flatten())
        return torch.where(self.weight > 0, totals[self.index], 0)

    def count(self) -> Tensor:
        """Distinct turns in the cell."""
        return self.sum(torch.ones_like(self.weight))

    def mean(self, values: Tensor) -> Tensor:
        return self.sum(values) / self.count().clamp(min=1)

    def centred(self, values: Tensor) -> Tensor:
        """Values against the cell's mean: exactly 0 where the cell's values differ by no more than rounding."""
        return torch.where(self.varies(values), values - self.mean(values), 0)

    def variance(self, values: Tensor, correction: int) -> Tensor:
        """Of the sample (correction 1) or the population (0); 0 for fewer turns than it takes."""
        return self.sum(self.centred(values).square()) / (self.count() - correction).clamp(min=1)

    def varies(self, values: Tensor) -> Tensor:
        """[B, K] bool; whether the cell's values differ by more than rounding."""
        inside = self.weight > 0
        low = values.new_full((int(self.index.max()) + 1,), torch.inf)
        high = -low
        low.scatter_reduce_(0, self.index[inside], values[inside], "amin")
        high.scatter_reduce_(0, self.index[inside], values[inside], "amax")
        rounding = 16 * torch.finfo(values.dtype).eps * torch.maximum(low.abs(), high.abs())
        return ((high - low) > rounding)[self.index] & inside


def through_node(batch: Batch, values: Tensor) -> Tensor:
    """[B] -> [B, K] the sum over the surviving trajectories that pass through the turn; 0 outside the turn mask.

    Its own value where nothing is forked; over returns, it is the turn's leaves together.
    """
    batch.check_whole("comparison")
    node, inside = batch.node.clamp(min=0), batch.turn_mask
    totals = values.new_zeros(int(node.max()) + 1)
    totals.index_add_(0, node.flatten(), torch.where(inside, values[:, None], 0).flatten())
    return torch.where(inside, totals[node], 0)


def rounded(difference: Tensor, *terms: Tensor) -> Tensor:
    """`difference` of these terms, exactly 0 where it is no more than their rounding: equal returns give no advantage."""
    scale = torch.stack([term.abs().expand_as(difference) for term in terms]).amax(0)
    return torch.where(difference.abs() > 16 * torch.finfo(difference.dtype).eps * scale, difference, 0)


def whitened(values: Tensor, weight: Tensor) -> Tensor:
    """[B, T] to mean 0 and sample variance (n - 1) 1 over the tokens with weight; all 0 for one token, or if all are equal."""
    inside, count = weight > 0, weight.sum()
    if int(inside.sum()) < 2:
        return torch.zeros_like(values)
    low, high = values[inside].min(), values[inside].max()
    if high - low <= 16 * torch.finfo(values.dtype).eps * torch.maximum(low.abs(), high.abs()):
        return torch.zeros_like(values)
    mean = (values * weight).sum() / count
    variance = ((values - mean).square() * weight).sum() / (count - 1).clamp(min=1)
    return torch.where(inside, (values - mean) * (variance + 1e-8).rsqrt(), 0)
