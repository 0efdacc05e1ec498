"""MT-GRPO: turn rewards and the outcome normalised apart, the turn part before its turn's result only (arXiv:2505.11821)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within
from turnwise.trainers.comparison import Cells

__all__ = ["MTGRPO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MTGRPO:
    """A_k = A^O + weight * sum of A^T_j over the turns j >= k before the last.

    A^O: the last turn's reward against the group's last turns; A^T_j: the reward of turn j against the group's trajectories
    that have a turn j which is not their last; each (r - mean) / (std + eps) with the sample standard deviation (n - 1). The
    paper has one tool call, hence one A^T; the sum is its extension to more. A trajectory of a single turn takes its return,
    normalised over the group's returns. A cell of one turn gives 0.

    **Warning.** Kept to compare with: who reaches turn j depends on the actions before it, so centring at turn j takes away what
    reaching it was worth, and the gradient of a decision to go on can have the wrong sign (docs/conformance.md).
    `trloo` is the same idea with a baseline that is free of the action.
    """

    weight: float = 1.0
    """Of the turn rewards (lambda in the paper)."""
    eps: float = 1e-4
    """Added to the spread, in units of reward."""

    def __post_init__(self) -> None:
        within("mt_grpo.weight", self.weight)
        within("mt_grpo.eps", self.eps)

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of spreads; 0 for a group of one."""
        turn = torch.arange(batch.rewards.shape[1], device=batch.rewards.device).expand_as(batch.node)
        last = turn == batch.turns[:, None] - 1
        outcome = self._normalised(batch.rewards, Cells.of(batch, where=last))
        along = self._normalised(batch.rewards, Cells.of(batch, turn, where=~last))
        to_go = along.flip(1).cumsum(1).flip(1)
        single = self._normalised(batch.returns[:, None].expand_as(turn), Cells.of(batch, where=last))
        advantage = outcome.sum(1, keepdim=True) + self.weight * to_go
        advantage = torch.where((batch.turns == 1)[:, None], single, advantage)
        return batch.to_tokens(torch.where(batch.turn_mask, advantage, 0))

    def _normalised(self, values: Tensor, cells: Cells) -> Tensor:
        return cells.centred(values) / (cells.variance(values, 1).sqrt() + self.eps)
