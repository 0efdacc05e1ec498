"""What the programs of the coding tasks are made of: one step, from one kind of value to another, in English and in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from turnwise.envs.draws import Draws

__all__ = ["IN", "OUT", "Kind", "Params", "Step", "Template"]

Kind = Literal["numbers", "number", "text", "words", "table", "grid", "graph"]
"""list[int], int, str, list[str], dict[str, int], list[list[int]] (rows of one length), list[list[int]] (arrows of each node)."""
IN, OUT = "IN_", "OUT_"
"""How the code of a step calls its value and its result."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a program."""

    text: str
    """What to do, as a sentence; empty values are spoken of where it matters."""
    code: str
    """Python that makes OUT from IN and changes nothing of IN; its loops end whatever is changed in it by a bug."""
    out: Kind
    name: str
    """What the result is called in the solution."""
    reorders: bool = False
    """Whether it changes nothing but the order."""
    forgets_order: bool = False
    """Whether the order of what comes in makes no difference."""


class Params:
    """The parameters of a program; counts how many programs its choices could have made."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        self.variants = 1

    def __call__(self, low: int, high: int) -> int:
        """A random integer, both ends included."""
        self.variants *= high - low + 1
        return low + self._draws.below(high - low + 1)

    def nonzero(self, most: int) -> int:
        """From -most to most, but neither 0 nor 1."""
        self.variants *= 2 * most - 1
        number = self._draws.below(2 * most - 1) - most
        return number if number < 0 else number + 2

    def pick(self, items: Sequence[T]) -> T:
        self.variants *= len(items)
        return self._draws.pick(items)


Template = Callable[[Params], Step]
