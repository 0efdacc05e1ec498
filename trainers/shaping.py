"""How a step's reward shapers work together, and what all of them need: terms added to turns, texts read from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from turnwise.agents.failures import failure_of
from turnwise.errors import ConfigError, InfraError, UnknownName
from turnwise.trainers.rewards.protocol import LearningShaper, Scene, Shaper, State
from turnwise.types import Failure, Group, Stop, Trajectory, Turn

__all__ = ["Shaped", "Terms", "add_terms", "answers_to", "check_names", "distinct_turns", "failed", "shape", "start"]

Terms = Mapping[Turn, Mapping[str, float]]
"""What each turn gets; turns are told apart by identity."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """What the shapers of a step made."""

    groups: list[Group]
    states: list[State]
    """Of each shaper, for the next step."""
    metrics: dict[str, float]


def start(shapers: Sequence[Shaper], scene: Scene) -> list[State]:
    """The state of each shaper before the first step; {} for those that keep none."""
    return [shaper.start(scene) if isinstance(shaper, LearningShaper) else {} for shaper in shapers]


async def shape(shapers: Sequence[Shaper], groups: Sequence[Group], states: Sequence[State], scene: Scene) -> Shaped:
    """All shapers in order; each sees the terms of those before it."""
    shaped, after, metrics = list(groups), list(states), dict[str, float]()
    for index, shaper in enumerate(shapers):
        own = replace(scene, state=states[index])
        shaped = await shaper(shaped, own)
        if isinstance(shaper, LearningShaper):
            after[index], told = await shaper.learn(shaped, own)
            metrics |= told
    return Shaped(shaped, after, metrics)


def add_terms(groups: Sequence[Group], terms: Terms) -> list[Group]:
    """The groups with these terms added to the turns' rewards; a term that a turn has already grows by as much.

    Raises ConfigError for a term that is not finite: one nan would spoil every trajectory it is compared with.
    """
    for name, value in (item for new in terms.values() for item in new.items()):
        if not math.isfinite(value):
            raise ConfigError(f"reward term {name!r}: expected a finite number, got {value}; mend the shaper that adds it.")
    made: dict[Turn, Turn] = {}
    return [replace(g, trajectories=tuple(_with_terms(t, terms, made) for t in g.trajectories)) for g in groups]


def _with_terms(trajectory: Trajectory, terms: Terms, made: dict[Turn, Turn]) -> Trajectory:
    parent: Turn | None = None
    for turn in trajectory.turns:
        if turn not in made:
            new = terms.get(turn, {})
            both = {**turn.reward_terms, **{name: turn.reward_terms.get(name, 0.0) + value for name, value in new.items()}}
            made[turn] = replace(turn, reward=turn.reward + sum(new.values()), reward_terms=both, parent=parent)
        parent = made[turn]
    return replace(trajectory, leaf=parent)


def distinct_turns(group: Group) -> dict[Turn, list[Trajectory]]:
    """Every turn of the survivors once, parents first, with the trajectories through it."""
    through: dict[Turn, list[Trajectory]] = {}
    for trajectory in group.survivors:
        for turn in trajectory.turns:
            through.setdefault(turn, []).append(trajectory)
    return through


def answers_to(trajectory: Trajectory) -> list[str]:
    """[K] what the environment answered to each turn: the next observation, and after the last turn its final word."""
    return [*(turn.observation for turn in trajectory.turns[1:]), trajectory.final][: len(trajectory.turns)]


def check_names(where: str, groups: Sequence[Group], names: Iterable[str], scene: Scene) -> None:
    """Raises UnknownName at the first step of a run for reward terms that no turn has: later they may be rare."""
    known = {name for group in groups for t in group.trajectories for turn in t.turns for name in turn.reward_terms}
    for name in names if known and scene.step == 0 else ():
        if name not in known:
            raise UnknownName(f"reward term for {where}", name, known)


def failed(groups: Sequence[Group], broken: Mapping[Trajectory, InfraError], kind: str) -> list[Group]:
    """The groups with the trajectories that could not be judged as failures: they count as such, not as rewards."""

    def judged(trajectory: Trajectory) -> Trajectory:
        if trajectory not in broken:
            return trajectory
        error = broken[trajectory]
        return replace(trajectory, stop=Stop.FAILED, failure=Failure(kind, str(error), failure_of(error).family))

    return [replace(group, trajectories=tuple(map(judged, group.trajectories))) for group in groups]
