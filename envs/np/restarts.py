"""Orders to begin again from: what blind luck finds in a few dozen tries is no task."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["STARTS", "orders"]

STARTS = 128
"""Orders that are tried; an episode allows far fewer proposals."""


@lru_cache(maxsize=64)
def orders(count: int) -> tuple[tuple[int, ...], ...]:
    """[STARTS, count] orders of 0 to count - 1, always the same ones."""
    rng = np.random.default_rng(count)
    return tuple(tuple(rng.permutation(count).tolist()) for _ in range(STARTS))
