"""Restarts: a group begins where an expert left off, or on the way of an own success, so that rare successes come within reach
(backward curricula: Salimans and Chen, arXiv:1812.03381; R3, arXiv:2402.05808)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from turnwise.errors import ConfigError
from turnwise.trainers.rollouts.protocol import Event, Grow, Paused
from turnwise.types import Trajectory

__all__ = ["Restart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """`size` trajectories from one state: with probability `share` after 1 to `longest` turns of somebody who went before (drawn
    once a group), else from the task itself.

    With `source = "expert"` that is the environment's expert; needs an `expert_action`. With `"own"` it is the policy itself in
    an earlier trajectory of the task (`sampler = "replay"` brings back tasks with what solved them); its turns are said again in
    an environment that replays, and a task without a past starts as it is.

    Those turns are shared by the group, seen by the policy and never trained; they stop one before the episode would end. All
    members start at the same state, so a group-relative baseline stays one.
    """

    size: int = 8
    share: float = 0.5
    longest: int = 4
    source: Literal["expert", "own"] = "expert"

    def __post_init__(self) -> None:
        if self.size < 1 or self.longest < 1:
            raise ConfigError(f"rollout: expected size and longest of at least 1, got {self.size} and {self.longest}.")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"rollout.share: expected 0 to 1, got {self.share}.")

    def start(self, rng: np.random.Generator) -> tuple[Grow, ...]:
        if self.source == "own" or rng.random() >= self.share:
            return (Grow(),) * self.size
        return (Grow(turns=int(rng.integers(1, self.longest + 1)), expert=True),)

    def recall(self, rng: np.random.Generator, past: Sequence[Trajectory]) -> tuple[Grow, ...]:
        if self.source == "expert":
            return self.start(rng)
        way = past[int(rng.integers(len(past)))]
        most = min(self.longest, len(way.turns) - 1)
        if rng.random() >= self.share or most < 1:
            return (Grow(),) * self.size
        return (Grow(turns=int(rng.integers(1, most + 1)), past=way),)

    def ask(self, state: tuple[Grow, ...]) -> tuple[Sequence[Grow], tuple[Grow, ...]]:
        return state, ()

    def tell(self, state: tuple[Grow, ...], event: Event) -> tuple[Grow, ...]:
        return (*state, *[Grow(event.node)] * self.size) if isinstance(event, Paused) else state
