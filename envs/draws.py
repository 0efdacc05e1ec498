"""Small random choices for task generators, quick enough for thousands of tasks a second."""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Draws", "draws_of"]

T = TypeVar("T")


class Floats(Protocol):
    """A generator, or what stands in for one."""

    def random(self, size: int) -> npt.NDArray[np.float64]: ...


class _Hashed:
    """Floats that follow from a text alone, at a third of the cost of seeding a generator with it."""

    def __init__(self, text: str) -> None:
        self._text, self._calls = text, 0

    def random(self, size: int) -> npt.NDArray[Any]:
        self._calls += 1
        stream = hashlib.shake_128(f"{self._calls}:{self._text}".encode("utf-8", "surrogatepass")).digest(8 * size)
        return (np.frombuffer(stream, "<u8") >> np.uint64(11)) * 2.0**-53


class Draws:
    """Choices drawn from a generator in batches (a scalar draw costs ten times as much). Give it a generator of its own."""

    def __init__(self, rng: Floats) -> None:
        self._rng = rng
        self._floats: list[float] = []

    def uniform(self) -> float:
        """In [0, 1)."""
        if not self._floats:
            self._floats = self._rng.random(128).tolist()
        return self._floats.pop()

    def uniforms(self, count: int) -> list[float]:
        """The next `count` of `uniform`."""
        out = list[float]()
        while (missing := count - len(out)) > 0:
            if not self._floats:
                self._floats = self._rng.random(128).tolist()
            out += self._floats[: -missing - 1 : -1]
            del self._floats[-missing:]
        return out

    def below(self, bound: int) -> int:
        """Uniform in [0, bound), for bounds far below 2**53."""
        floats = self._floats
        return int((floats.pop() if floats else self.uniform()) * bound)

    def pick(self, items: Sequence[T]) -> T:
        floats = self._floats
        return items[int((floats.pop() if floats else self.uniform()) * len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """A shuffled copy (Fisher-Yates)."""
        out, floats = list(items), self._floats
        for i in range(len(out) - 1, 0, -1):
            j = int((floats.pop() if floats else self.uniform()) * (i + 1))
            out[i], out[j] = out[j], out[i]
        return out


def draws_of(text: str) -> Draws:
    """Choices that follow from a text alone."""
    return Draws(_Hashed(text))
