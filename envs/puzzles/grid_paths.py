"""Shortest ways on a grid, by masks: bit r * width + c is the cell in row r, column c.

The last column (and the last row) must be closed, so that a step over an edge lands on a closed cell.
"""

from __future__ import annotations

from turnwise.envs.puzzles.sokoban_rules import DIRECTIONS, steps_of

__all__ = ["bits", "first_run", "layers", "shortest_path"]


def layers(free: int, start: int, width: int) -> list[int]:
    """[t] the mask of the cells whose shortest way from the cells of mask `start` has t moves."""
    found, seen, now = list[int](), start, start
    while now:
        found.append(now)
        now = (now << 1 | now >> 1 | now << width | now >> width) & free & ~seen
        seen |= now
    return found


def bits(mask: int) -> list[int]:
    """The cells of a mask, ascending."""
    found = list[int]()
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


def shortest_path(free: int, start: int, goal: int, width: int) -> list[int]:
    """The moves (indices into DIRECTIONS) of a shortest way between two cells; empty if there is none.

    Goes straight on where that is as short.
    """
    far = layers(free, 1 << goal, width)
    left = next((t for t, mask in enumerate(far) if mask >> start & 1), 0)
    steps, at, path = steps_of(width), start, list[int]()
    for t in range(left - 1, -1, -1):
        order = (path[-1:] if path else []) + [0, 1, 2, 3]
        index = next(i for i in order if at + steps[i] >= 0 and far[t] >> (at + steps[i]) & 1)
        path.append(index)
        at += steps[index]
    return path


def first_run(path: list[int]) -> str:
    """The moves of a path up to its first turn, as a reply."""
    run = next((i for i, index in enumerate(path) if index != path[0]), len(path))
    return f"<answer>{' '.join(DIRECTIONS[index] for index in path[:run])}</answer>"
