"""Length-free credit: a turn pushes as hard whatever the number of its tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.comparison import through_node

__all__ = ["LengthFree"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthFree:
    """A'_t = A_t * mean length / length of t's turn, lengths in sampled tokens, the mean over the batch's distinct turns.

    A turn is one action; with `aggregate = "token_mean"` every turn then has the same total weight, so a long reply among short
    ones no longer drowns them. The price: the gradient of log p(turn) is the *sum* over its tokens, so where length depends on
    the action this is biased (docs/conformance.md), and a wrong long reply costs no more than a wrong short one. `aggregate =
    "constant"` is the unbiased answer to length; this one is for replies whose length says nothing.

    No paper gives this formula under this name; it is ours. Groups move each other by the scale of the mean alone.
    """

    def __call__(self, batch: Batch, advantages: Tensor) -> Tensor:
        batch.check("length_free", advantages=(advantages, "BT"))
        at = batch.turn.clamp(min=0)
        length = torch.zeros_like(batch.rewards).scatter_add_(1, at, batch.mask.to(batch.rewards)).to(advantages)
        rows = through_node(batch, torch.ones_like(batch.returns)).clamp(min=1)
        weight = (length > 0) / rows
        mean = (weight * length).sum() / weight.sum().clamp(min=1)
        return advantages * batch.to_tokens(torch.where(length > 0, mean / length.clamp(min=1), 0))
