"""A space of strings that agents can live in."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium import Space
from typing_extensions import override

__all__ = ["TextSpace"]

_SAMPLE = [chr(c) for c in range(32, 127)] + list("\n\té→中🙂")


class TextSpace(Space[str]):
    """Any Unicode string of at most `max_length` characters, the empty one included.

    Not a `gymnasium.spaces.Text`: that one rejects "hello world" by default, and `AsyncVectorEnv` with shared memory
    returns garbage for its subclasses (gymnasium 1.4.0) where it refuses a space it does not know.
    """

    def __init__(self, max_length: int = 1_000_000, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)
        self.max_length = max_length

    @override
    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Short random text: printable characters, a few beyond ASCII. Masks make no sense here and are refused."""
        if mask is not None or probability is not None:
            raise ValueError("TextSpace.sample: masks are not supported; sample and edit the string instead.")
        length = int(self.np_random.integers(0, min(self.max_length, 40) + 1))
        return "".join(_SAMPLE[int(i)] for i in self.np_random.integers(0, len(_SAMPLE), size=length))

    @override
    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    @property
    @override
    def is_np_flattenable(self) -> bool:
        return False

    @override
    def to_jsonable(self, sample_n: Iterable[str]) -> list[Any]:
        return list(sample_n)

    @override
    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        return [str(s) for s in sample_n]

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextSpace) and self.max_length == other.max_length

    @override
    def __repr__(self) -> str:
        return f"TextSpace({self.max_length})"
