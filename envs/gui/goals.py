"""How much is asked for at each level, and how it is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from turnwise.envs.draws import Draws

__all__ = ["STEPS", "Made", "chosen", "sentence"]

STEPS: Mapping[int, tuple[int, int]] = {1: (1, 3), 2: (4, 6), 3: (7, 10), 4: (11, 15), 5: (16, 24)}
"""Level -> about how many actions the expert needs, at least and at most."""


class Made(NamedTuple):
    """A task of an app."""

    said: Sequence[str]
    """What is to be done, part by part."""
    data: Mapping[str, Any]
    goal: Mapping[str, Any]
    steps: int
    """About how many actions it takes."""


def chosen(draws: Draws, costs: Mapping[str, int], level: int, *, at_most: int = 100) -> tuple[list[str], int]:
    """Parts of a task whose costs together are right for the level, and that sum."""
    low, high = STEPS[level]
    kinds, steps = list[str](), 0
    while steps < low and len(kinds) < at_most:
        kind = draws.pick([kind for kind, cost in costs.items() if steps + cost <= high] or [min(costs, key=costs.__getitem__)])
        kinds.append(kind)
        steps += costs[kind]
    return kinds, steps


def sentence(parts: Sequence[str]) -> str:
    """Parts as one goal."""
    words = "; ".join(parts)
    return f"{words[:1].upper()}{words[1:]}."
