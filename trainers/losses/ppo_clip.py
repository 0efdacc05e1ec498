"""PPO's clipped surrogate per token (arXiv:1707.06347, eq. 7), with clip-higher (DAPO, arXiv:2503.14476, section 3.1) and
dual clip (arXiv:1912.09729, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within

__all__ = ["PPOClip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOClip:
    """max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high)), and at most -dual_clip * A where A < 0; r = current / behaviour.

    Gradient in logp: -A r, or 0 where (A > 0, r > 1 + clip_high), (A < 0, r < 1 - clip_low) or (A < 0, r > dual_clip).
    Defaults are DAPO's range; the wider upper side leaves rare tokens room to grow. `clip_high = 0.2` is the first PPO.
    """

    clip_low: float = 0.2
    clip_high: float = 0.28
    dual_clip: float = 3.0
    """Bound of the ratio where A < 0; inf is off."""

    def __post_init__(self) -> None:
        within("ppo_clip.clip_low", self.clip_low, 0, 1)
        within("ppo_clip.clip_high", self.clip_high)
        within("ppo_clip.dual_clip", self.dual_clip, 1)

    def __call__(self, logprobs: Tensor, advantages: Tensor, batch: Batch) -> Tensor:
        """[B, T]"""
        batch.check("ppo_clip", logprobs=(logprobs, "BT"), advantages=(advantages, "BT"))
        ratio = batch.log_ratio(logprobs).exp()
        clipped = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        loss = torch.maximum(-advantages * ratio, -advantages * clipped)
        loss = torch.where(advantages < 0, loss.minimum(-advantages * self.dual_clip), loss)
        return torch.where(batch.mask, loss, 0)
