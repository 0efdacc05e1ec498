"""The only seed arithmetic: children of a seed by path, without overlaps between neighbours."""

import zlib

import numpy as np

__all__ = ["child"]


def child(seed: int, *path: int | str) -> int:
    """A 63-bit seed that depends on `seed` and every element of `path`, and on nothing else.

    `child(7, "rollout", 3)` and `child(8, "rollout", 2)` have nothing in common, which `seed + i` cannot promise.
    """
    words = [zlib.crc32(p.encode()) if isinstance(p, str) else p for p in path]
    state = np.random.SeedSequence(seed, spawn_key=tuple(words)).generate_state(2, np.uint32)
    return (int(state[0]) << 31 | int(state[1]) >> 1) & (2**63 - 1)
