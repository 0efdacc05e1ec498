"""RLVMR: the return against the group, mixed with each turn's meta-reasoning reward against turns of the same tag
(GRPO-MR, arXiv:2507.22844)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within
from turnwise.trainers.comparison import Cells

__all__ = ["RLVMR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RLVMR:
    """A_{i,k} = alpha * A^T_i + (1 - alpha) * A^M_{i,k}.

    A^T is the return without the meta-reasoning terms, A^M a turn's meta-reasoning reward, both as (x - mean) / (std + 1e-6) with
    the population's std: over the group's trajectories, and over its distinct turns with the same tag. What tag a turn has is
    which of the terms `prefix` + tag it carries (the reward shaper `meta_reasoning` adds one to each turn): a term of 0 is one.

    A tag that is always rewarded alike carries no signal; a turn that is alone with its tag gives 0. Turns without a tag
    (`prefix` + "none") would have nothing to be worse than, so they are compared with all turns of the group (ours). A turn with
    no such term has A^M = 0: without the shaper this is alpha times GRPO.
    """

    alpha: float = 0.5
    """Weight of the outcome."""
    prefix: str = "meta_"

    def __post_init__(self) -> None:
        within("rlvmr.alpha", self.alpha, 0, 1)

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of spreads; 0 for a group of one."""
        names = sorted(name for name in batch.terms if name.startswith(self.prefix))
        meta, tag = torch.zeros_like(batch.rewards), torch.full_like(batch.node, -1)
        for number, name in enumerate(names):
            meta = meta + batch.terms[name].to(meta)
            tag = torch.where(batch.carries[name], number, tag) if name in batch.carries else tag
        untagged = tag == (names.index(f"{self.prefix}none") if f"{self.prefix}none" in names else -2)
        step = torch.where(untagged, _normal(meta, Cells.of(batch)), _normal(meta, Cells.of(batch, tag)))
        size = batch.group_size()
        returns = ((batch.rewards - meta) * batch.turn_mask).sum(1)
        centred = torch.where(batch.group_varies(returns), returns - batch.group_sum(returns) / size.clamp(min=1), 0)
        spread = (batch.group_sum(centred.square()) / size.clamp(min=1)).sqrt() + 1e-6
        mixed = self.alpha * (centred / spread)[:, None] + (1 - self.alpha) * torch.where(tag >= 0, step, 0)
        return batch.to_tokens(torch.where(size[:, None] > 1, mixed, 0))


def _normal(values: Tensor, cells: Cells) -> Tensor:
    return cells.centred(values) / (cells.variance(values, 0).sqrt() + 1e-6)
