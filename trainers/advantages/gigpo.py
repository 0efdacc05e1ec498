"""GiGPO: the return against the group, and each step's return against steps that saw the same observation (arXiv:2505.10978)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within
from turnwise.trainers.comparison import Cells, rounded, through_node

__all__ = ["GiGPO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GiGPO:
    """A_{i,k} = A^E_{i,k} + weight * A^S_{i,k}.

    A^E = R_i - mean R (episodes of the group); A^S = G_{i,k} - mean G over the anchor group: all turns of the group that saw the
    observation turn k saw (`Batch.state`, a hash: time stamps and counters in an observation keep states from ever meeting).
    G_k = r_k + gamma * G_{k+1}. A turn that is alone in its anchor group gets A^S = 0.

    The means leave out every trajectory that passes through turn (i, k) itself: one's own, whose later visits of the state
    depend on the action judged, and those forked from it. `leave_one_out = false` is the paper's mean over all, oneself
    included. An anchor state that others reach with probability p still scales that state's gradient by about p (the
    conformance table has numbers). With `std` both are divided by the sample standard deviation (n - 1) of their group. Left
    out: clustering of similar observations.
    """

    gamma: float = 0.95
    """Discount per turn, of A^S."""
    weight: float = 1.0
    """Of A^S."""
    leave_one_out: bool = True
    """Compare with the others only."""
    std: bool = False
    """Divide by the spread."""
    eps: float = 1e-6
    """Added to the spread, in units of reward."""

    def __post_init__(self) -> None:
        within("gigpo.gamma", self.gamma, 0, 1)
        within("gigpo.weight", self.weight)
        within("gigpo.eps", self.eps)

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of reward (of spreads with `std`); 0 for a group of one.

        Equal returns give A^E = 0; A^S is 0 where the discounted returns of the anchor group are equal.
        """
        advantage = self._episode(batch) + self.weight * self._step(batch)
        return batch.to_tokens(torch.where(batch.group_size()[:, None] > 1, advantage, 0))

    def _episode(self, batch: Batch) -> Tensor:
        returns, size = batch.returns, batch.group_size()
        mean = batch.group_sum(returns) / size.clamp(min=1)
        if self.leave_one_out:
            others = size[:, None] - through_node(batch, torch.ones_like(returns))
            baseline = (batch.group_sum(returns)[:, None] - through_node(batch, returns)) / others.clamp(min=1)
            advantage = torch.where(others > 0, rounded(returns[:, None] - baseline, returns[:, None], baseline), 0)
        else:
            advantage = (returns - mean)[:, None].expand_as(batch.rewards)
        if self.std:
            variance = batch.group_sum((returns - mean).square()) / (size - 1).clamp(min=1)
            advantage = advantage / (variance.sqrt() + self.eps)[:, None]
        return torch.where(batch.group_varies(returns)[:, None] & batch.turn_mask, advantage, 0)

    def _step(self, batch: Batch) -> Tensor:
        to_go = batch.returns_to_go(self.gamma)
        anchors = Cells.of(batch, batch.state)
        advantage = _against_others(batch, to_go, anchors) if self.leave_one_out else anchors.centred(to_go)
        if self.std:
            advantage = advantage / (anchors.variance(to_go, 1).sqrt() + self.eps)
        return advantage


def _against_others(batch: Batch, to_go: Tensor, anchors: Cells) -> Tensor:
    """[B, K] the return-to-go against the mean over the cell's turns on trajectories that do not pass through this turn."""
    out = torch.zeros_like(to_go)
    for group in batch.group.unique():
        rows, turns = torch.nonzero(batch.turn_mask & (batch.group == group)[:, None], as_tuple=True)
        same_cell = anchors.index[rows, turns][:, None] == anchors.index[rows, turns]
        passes = batch.node[rows, turns][:, None] == batch.node[rows][:, turns].T  # [i, j]: the row of j has turn i in it
        weight = torch.where(same_cell & ~passes, anchors.weight[rows, turns], 0)
        own = to_go[rows, turns]
        baseline = (weight @ own) / weight.sum(1).where(weight.sum(1) > 0, 1)
        out[rows, turns] = torch.where(weight.sum(1) > 0, rounded(own - baseline, own, baseline), 0)
    return out
