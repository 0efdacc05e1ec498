"""Tree credit: a turn's value is the mean of its leaves, its advantage that against its siblings; also ARPO's hard and soft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within
from turnwise.trainers.comparison import rounded, through_node

__all__ = ["Tree"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Credit for forked rollouts (`Batch.node`); a leaf is a surviving trajectory, its value the undiscounted return.

    `siblings`: V(n) = mean return of the leaves below turn n; A(n) = V(n) - mean of V over the siblings, the other turns with
    the same turn before them. An only child belongs to its parent's branch and takes its advantage (the same leaves, the same
    siblings). The siblings took their actions independently of n's, so this is unbiased under forks, where `rloo` is not
    (docs/conformance.md); without forks it is `rloo`. As in Tree-GRPO and TreeRL, without the division by a spread.

    `soft` and `hard` are ARPO's (arXiv:2507.19849): z = (R - mean R) / (std R + eps) over the group's trajectories, sample
    standard deviation. Soft gives each row its own z, so a shared turn has as many advantages as rows; hard gives a shared turn
    their mean. The aggregates weigh a shared turn 1 / rows in each row, so on policy the two have the same gradient.
    """

    credit: Literal["siblings", "hard", "soft"] = "siblings"
    eps: float = 1e-6
    """Added to the spread (hard, soft), in units of reward."""

    def __post_init__(self) -> None:
        within("tree.eps", self.eps)

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of reward (hard, soft: of the spread); 0 for a group of one and where leaves have equal returns."""
        advantage = self._siblings(batch) if self.credit == "siblings" else self._arpo(batch)
        return batch.to_tokens(torch.where(batch.turn_mask, advantage, 0))

    def _siblings(self, batch: Batch) -> Tensor:
        leaves = through_node(batch, torch.ones_like(batch.returns)).clamp(min=1)
        value = through_node(batch, batch.returns) / leaves
        parent = batch.group  # of the roots
        inherited = torch.zeros_like(value[:, 0])
        out, turns = torch.zeros_like(value), batch.turn_mask
        for k in range(value.shape[1]):
            here = turns[:, k]
            _, family = torch.unique(parent, return_inverse=True)
            weight = here / leaves[:, k]  # a turn in several rows is one sibling
            siblings = _within(family, weight) - 1
            baseline = (_within(family, weight * value[:, k]) - value[:, k]) / siblings.clamp(min=1)
            against = rounded(value[:, k] - baseline, value[:, k], baseline)
            inherited = torch.where(siblings > 0.5, against, inherited)
            out[:, k] = inherited
            parent = torch.where(here, batch.node[:, k], -1)
        return out

    def _arpo(self, batch: Batch) -> Tensor:
        returns, size = batch.returns, batch.group_size()
        centred = returns - batch.group_sum(returns) / size.clamp(min=1)
        variance = batch.group_sum(centred.square()) / (size - 1).clamp(min=1)
        scores = torch.where(batch.group_varies(returns), centred / (variance.sqrt() + self.eps), 0)
        if self.credit == "soft":
            return scores[:, None].expand_as(batch.rewards)
        return through_node(batch, scores) / through_node(batch, torch.ones_like(scores)).clamp(min=1)


def _within(family: Tensor, values: Tensor) -> Tensor:
    """[B] the sum over the rows of the family, at each."""
    return values.new_zeros(int(family.max()) + 1).index_add_(0, family, values)[family]
