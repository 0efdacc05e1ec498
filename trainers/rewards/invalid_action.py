"""A small penalty for replies that the environment could not parse (as in RAGEN and verl-agent)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.trainers.bounds import within
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.shaping import add_terms
from turnwise.types import Group

__all__ = ["InvalidAction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidAction:
    """Adds the term `invalid_action` = -penalty to every turn whose reply was not valid."""

    penalty: float = 0.1

    def __post_init__(self) -> None:
        within("invalid_action.penalty", self.penalty)

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        turns = [turn for group in groups for trajectory in group.trajectories for turn in trajectory.turns]
        return add_terms(groups, {turn: {"invalid_action": 0.0 if turn.valid else -self.penalty} for turn in turns})
