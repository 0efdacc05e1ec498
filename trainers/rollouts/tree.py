"""A tree of fixed shape: every trajectory splits after the same turns (as in Tree-GRPO, arXiv:2509.21240, and TreeRL)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from turnwise.errors import ConfigError
from turnwise.trainers.rollouts.protocol import Event, Grow, Played

__all__ = ["Tree"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """`roots` trajectories start at the task; after each turn number in `splits`, each goes on as `width`.

    Where a split falls is fixed before anything is sampled, so siblings are independent draws from the same point and
    `advantage = "tree"` is unbiased (Tree-GRPO picks random nodes of finished chains: which nodes there are then depends on what
    came after them). A trajectory that ends before a split has no leaves there: a group may be smaller than `size`.
    """

    roots: int = 2
    width: int = 2
    splits: tuple[int, ...] = (1, 2)
    """Numbers of turns played, rising."""

    def __post_init__(self) -> None:
        if self.roots < 1 or self.width < 1:
            raise ConfigError(f"rollout: expected roots and width of at least 1, got {self.roots} and {self.width}.")
        if any(turn < 1 for turn in self.splits) or list(self.splits) != sorted(set(self.splits)):
            raise ConfigError(f"rollout.splits: expected rising numbers of turns from 1 on, got {list(self.splits)}.")

    @property
    def size(self) -> int:
        return self.roots * self.width ** len(self.splits)

    def start(self, rng: np.random.Generator) -> tuple[Grow, ...]:
        return (Grow(),) * self.roots

    def ask(self, state: tuple[Grow, ...]) -> tuple[Sequence[Grow], tuple[Grow, ...]]:
        return state, ()

    def tell(self, state: tuple[Grow, ...], event: Event) -> tuple[Grow, ...]:
        splits = isinstance(event, Played) and not event.over and len(event.turn.path()) in self.splits
        return (*state, *[Grow(event.turn)] * (self.width - 1)) if splits and isinstance(event, Played) else state
