"""Weights for reward terms, the environment's own and those of the shapers before this one; they may change over the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.shaping import add_terms, check_names
from turnwise.types import Group

__all__ = ["Weighted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """Every term in `weights` is multiplied by its weight, and a turn's reward is the sum again; other terms stay as they are
    (all of them, without weights).

    A term in `until` changes its weight linearly over the run, from the one in `weights` (1 if it is not there) to this one at
    the last step, as IGPO's weights of outcome (0.5 to 1) and gain (1 to 0.5).
    """

    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    until: Mapping[str, float] = field(default_factory=dict[str, float])

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        """Raises UnknownName for a term that no turn of the first step has."""
        check_names("weighted", groups, [*self.weights, *self.until], scene)
        now = {name: self._weight(name, scene.progress) for name in {**self.weights, **self.until}}
        turns = {turn for group in groups for trajectory in group.trajectories for turn in trajectory.turns}
        changes = {
            turn: {name: (weight - 1) * turn.reward_terms[name] for name, weight in now.items() if name in turn.reward_terms}
            for turn in turns
        }
        return add_terms(groups, changes)

    def _weight(self, name: str, progress: float) -> float:
        first = self.weights.get(name, 1.0)
        return first + (self.until.get(name, first) - first) * progress
