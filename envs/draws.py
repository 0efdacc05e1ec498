"""Small random choices for task generators, quick enough for thousands of tasks a second."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

__all__ = ["Draws"]

T = TypeVar("T")


class Draws:
    """Choices drawn from a generator in batches (a scalar draw costs ten times as much). Give it a generator of its own."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._floats: list[float] = []

    def uniform(self) -> float:
        """In [0, 1)."""
        if not self._floats:
            self._floats = self._rng.random(128).tolist()
        return self._floats.pop()

    def below(self, bound: int) -> int:
        """Uniform in [0, bound), for bounds far below 2**53."""
        return int(self.uniform() * bound)

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """A shuffled copy (Fisher-Yates)."""
        out = list(items)
        for i in range(len(out) - 1, 0, -1):
            j = self.below(i + 1)
            out[i], out[j] = out[j], out[i]
        return out
