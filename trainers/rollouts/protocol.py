"""Rollout strategies decide which node of the tree of turns to extend or fork next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from turnwise.types import Turn

__all__ = ["Grow", "Rollout"]


@dataclass(frozen=True, slots=True)
class Grow:
    """A wish for one more trajectory: from the root (`node` None) or as a fork right after the turn `node`."""

    node: Turn | None = None


class Rollout(Protocol):
    """Ask / tell over the tree of one task. Parameters live in the object; the state is a value that the caller keeps.

    The pool calls `start` once per task, then `ask` (new trajectories to begin now) and `tell` after every turn of every
    trajectory. A fork can only be asked for at the turn just told.
    """

    @property
    def size(self) -> int:
        """Trajectories of one group."""
        ...

    def start(self, rng: np.random.Generator) -> Any:
        """The state before anything is rolled out."""
        ...

    def ask(self, state: Any) -> tuple[Sequence[Grow], Any]:
        """Trajectories to begin now, and the state after that."""
        ...

    def tell(self, state: Any, turn: Turn) -> Any:
        """The state after `turn` was played."""
        ...
