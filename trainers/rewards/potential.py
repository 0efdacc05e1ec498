"""Potential-based shaping: rewards for getting closer that leave the optimal policy where it was (Ng, Harada, Russell 1999)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from turnwise.registry import resolve
from turnwise.trainers.bounds import within
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.shaping import add_terms
from turnwise.types import Group, Stop, Task, Trajectory, Turn

__all__ = ["Potential"]

Phi = Callable[[Task, Sequence[Turn], str], float]
"""(task, turns so far, what the environment said last) -> the potential of that state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Potential:
    """Adds the term `potential` = gamma * Phi(s_{k+1}) - Phi(s_k) to turn k.

    Phi is 0 at the end of an episode, so a trajectory's terms, discounted by gamma, sum to -Phi(s_0): no action moves that, and
    every policy's value changes by the same constant. A Phi that is not 0 there would pay for reaching ends that look good.

    `of = "outcome"` is the environment's own measure of progress (0 at the start); `package.module:function` is yours, a function
    of (task, turns so far, last observation) that must not look at anything else.

    Where a limit cut the episode off, returns end too, so Phi is 0 there as well. Only a critic that goes on from the last state
    (`turn_gae` with its bootstrap) sees a future there: `truncated = "continues"` keeps Phi for it, as V then stands for it.
    """

    of: str = "outcome"
    gamma: float = 1.0
    """The discount of the estimator that follows."""
    truncated: Literal["ends", "continues"] = "ends"

    def __post_init__(self) -> None:
        within("potential.gamma", self.gamma, 0, 1)

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        phi: Any = _progress if self.of == "outcome" else resolve("turnwise.trainers.rewards", self.of)
        terms: dict[Turn, dict[str, float]] = {}
        for trajectory in (t for group in groups for t in group.survivors if t.turns):
            terms |= self._terms(trajectory, phi)
        return add_terms(groups, terms)

    def _terms(self, trajectory: Trajectory, phi: Phi) -> dict[Turn, dict[str, float]]:
        turns = trajectory.turns
        values = [float(phi(trajectory.task, turns[:k], turn.observation)) for k, turn in enumerate(turns)]
        goes_on = self.truncated == "continues" and trajectory.stop is not Stop.TERMINATED
        values.append(float(phi(trajectory.task, turns, trajectory.final)) if goes_on else 0.0)
        return {turn: {"potential": self.gamma * b - a} for turn, (a, b) in zip(turns, pairwise(values), strict=True)}


def _progress(task: Task, turns: Sequence[Turn], observation: str) -> float:
    return turns[-1].outcome if turns else 0.0
