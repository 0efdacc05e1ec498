"""Orders to begin again from: what blind luck finds in a few dozen tries is no task."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

__all__ = ["STARTS", "bits", "orders"]

STARTS = 128
"""Orders that are tried; an episode allows far fewer proposals."""


@lru_cache(maxsize=64)
def orders(count: int) -> tuple[tuple[int, ...], ...]:
    """[STARTS, count] orders of 0 to count - 1, always the same ones."""
    rng = np.random.default_rng(count)
    return tuple(tuple(rng.permutation(count).tolist()) for _ in range(STARTS))


def bits(members: Iterable[int]) -> int:
    """A set of small numbers as one number: thousands of tries are quicker with it."""
    return sum([1 << member for member in members])
