"""Duration-aware credit: turns weighted by how long the environment worked on them (arXiv:2509.01684, section on variable
durations)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.errors import ConfigError
from turnwise.trainers.batch import Batch
from turnwise.trainers.comparison import through_node

__all__ = ["DurationAware"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationAware:
    """A'_k = A_k * dt_k / mean dt, where dt_k = min(`Batch.seconds`, cap_s) and the mean is over the batch's distinct turns.

    For runs that stop collecting at a deadline: there quick actions finish more often than slow ones, in proportion to 1 / dt,
    and the weight evens that out. `LocalPool` waits for every episode, so nothing is over-represented and the weight only says
    that slow actions matter more; measure before you keep it. A batch without durations (all 0) is left as it is.

    **Seconds are measured**: the same seed on another day has others. A run with this transform resumes, but not bit by bit.
    The durations used are in the run's trajectories.jsonl. Groups move each other, by the scale of the mean alone.
    """

    cap_s: float = 60.0
    """Longest duration that counts, seconds; the recipe's `step_deadline_s` is what a hung step costs."""

    def __post_init__(self) -> None:
        if not self.cap_s > 0:
            raise ConfigError(f"duration_aware.cap_s: expected seconds above 0, got {self.cap_s}.")

    def __call__(self, batch: Batch, advantages: Tensor) -> Tensor:
        batch.check("duration_aware", advantages=(advantages, "BT"), seconds=(batch.seconds, "BK"))
        seconds = batch.seconds.to(advantages).clamp(max=self.cap_s)
        weight = batch.turn_mask / through_node(batch, torch.ones_like(batch.returns)).clamp(min=1)
        mean = (weight * seconds).sum() / weight.sum().clamp(min=1)
        return advantages * batch.to_tokens(seconds / mean) if mean > 0 else advantages
