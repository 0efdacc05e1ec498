"""Independent rollouts: every trajectory of a group starts at the task and goes its own way (GRPO, arXiv:2402.03300)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from turnwise.trainers.rollouts.protocol import Event, Grow

__all__ = ["Independent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Independent:
    """`size` episodes from the root, no forks."""

    size: int = 8

    def start(self, rng: np.random.Generator) -> int:
        return self.size

    def ask(self, state: int) -> tuple[Sequence[Grow], int]:
        return [Grow()] * state, 0

    def tell(self, state: int, event: Event) -> int:
        return state
