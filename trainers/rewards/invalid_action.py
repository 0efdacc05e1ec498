"""A small penalty for replies that the environment could not parse (as in RAGEN and verl-agent)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from turnwise.types import Group, Trajectory, Turn

__all__ = ["InvalidAction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidAction:
    """Adds the term `invalid_action` = -penalty to every turn whose reply was not valid."""

    penalty: float = 0.1

    async def __call__(self, groups: Sequence[Group]) -> list[Group]:
        seen: dict[int, Turn] = {}  # a shared turn stays shared
        return [replace(g, trajectories=tuple(self._shaped(t, seen) for t in g.trajectories)) for g in groups]

    def _shaped(self, trajectory: Trajectory, seen: dict[int, Turn]) -> Trajectory:
        parent: Turn | None = None
        for turn in trajectory.turns:
            if id(turn) not in seen:
                loss = 0.0 if turn.valid else -self.penalty
                terms = {**turn.reward_terms, "invalid_action": loss}
                seen[id(turn)] = replace(turn, reward=turn.reward + loss, reward_terms=terms, parent=parent)
            parent = seen[id(turn)]
        return replace(trajectory, leaf=parent)
