"""Restarts: a group begins where an expert left off, so that rare successes come within reach (backward curricula:
Salimans and Chen, arXiv:1812.03381; R3, arXiv:2402.05808)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from turnwise.errors import ConfigError
from turnwise.trainers.rollouts.protocol import Event, Grow, Paused

__all__ = ["Restart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """`size` trajectories from one state: with probability `share` after 1 to `longest` turns of the environment's expert (drawn
    once a group), else from the task itself.

    The expert's turns are shared by the group, seen by the policy and never trained; it stops one turn before it would end the
    episode. All members start at the same state, so a group-relative baseline stays one. Needs environments with an
    `expert_action`.
    """

    size: int = 8
    share: float = 0.5
    longest: int = 4

    def __post_init__(self) -> None:
        if self.size < 1 or self.longest < 1:
            raise ConfigError(f"rollout: expected size and longest of at least 1, got {self.size} and {self.longest}.")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"rollout.share: expected 0 to 1, got {self.share}.")

    def start(self, rng: np.random.Generator) -> tuple[Grow, ...]:
        if rng.random() >= self.share:
            return (Grow(),) * self.size
        return (Grow(turns=int(rng.integers(1, self.longest + 1)), expert=True),)

    def ask(self, state: tuple[Grow, ...]) -> tuple[Sequence[Grow], tuple[Grow, ...]]:
        return state, ()

    def tell(self, state: tuple[Grow, ...], event: Event) -> tuple[Grow, ...]:
        return (*state, *[Grow(event.node)] * self.size) if isinstance(event, Paused) else state
