"""The smallest environment that tests of rollouts play."""

from __future__ import annotations

import numpy as np

from turnwise.envs.core import Transition, TurnEnv
from turnwise.types import Task


class Three(TurnEnv):
    """Three turns of numbers."""

    levels = range(1, 2)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task(f"three-{int(rng.integers(10**6))}", "count", "", difficulty)

    def begin(self, task: Task) -> str:
        return task.id

    def play(self, action: str) -> Transition:
        return Transition(f"{self.turn} {int(self.np_random.integers(100))}", float(len(action) % 3), self.turn == 3)

    def expert_action(self) -> str:
        return "one"
