"""Rollout strategies decide which node of the tree of turns to extend or fork next, and when.

    start -> ask -> (tell -> ask)* ...

What happens is told as an event, and what the strategy wishes then is asked for. A fork begins at the node of the event just told
or at a node whose trajectory paused there; nothing is played twice for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from turnwise.agents.agent import Reply
from turnwise.types import Trajectory, Turn

__all__ = ["Ended", "Event", "Grow", "Paused", "Played", "Recalling", "Rollout", "Sampled"]


@dataclass(frozen=True, slots=True)
class Grow:
    """A wish for one more trajectory."""

    node: Turn | None = None
    """The turn after which it goes its own way; None is the task's beginning."""
    turns: int = 0
    """It pauses after that many turns of its own, to be grown from there; 0 lets it go on to its end."""
    expert: bool = False
    """Whether those turns are the environment's expert's, and never trained (only with `turns`, from the beginning)."""
    past: Trajectory | None = None
    """An earlier trajectory of the task. With `turns`, those are its first ones, said again and never trained; without, it joins
    the group as it is, and nothing is played."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A reply was sampled; the environment has not seen it. A fork asked for now leaves before it."""

    node: Turn | None
    """The turn before the reply."""
    reply: Reply


@dataclass(frozen=True, slots=True)
class Played:
    """A turn was played. A fork asked for now leaves after it, unless the episode is over."""

    turn: Turn
    over: bool


@dataclass(frozen=True, slots=True)
class Paused:
    """A trajectory stopped where its wish said. It can be grown from there until the group is finished."""

    node: Turn | None
    """Its last turn; None if an expert has nothing to show before the end."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A trajectory is complete, or broke."""

    trajectory: Trajectory


Event = Sampled | Played | Paused | Ended


class Rollout(Protocol):
    """Ask / tell over the tree of one task. Parameters live in the object; the state is a value that the caller keeps."""

    @property
    def size(self) -> int:
        """Trajectories of one group, at most."""
        ...

    def start(self, rng: np.random.Generator) -> Any:
        """The state before anything is rolled out."""
        ...

    def ask(self, state: Any) -> tuple[Sequence[Grow], Any]:
        """Trajectories to begin now, and the state after that. Asked at the beginning and after every event."""
        ...

    def tell(self, state: Any, event: Event) -> Any:
        """The state after an event."""
        ...


@runtime_checkable
class Recalling(Protocol):
    """A strategy that makes something of earlier trajectories of the task (`Problem.past`, from a sampler such as `replay`)."""

    def recall(self, rng: np.random.Generator, past: Sequence[Trajectory]) -> Any:
        """The state before anything is rolled out, in place of `start`; `past` is not empty."""
        ...
