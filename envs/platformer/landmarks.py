"""What lies ahead on a course, in words: pits, steps, drops, spikes, platforms, roofs, checkpoints, the flag."""

from __future__ import annotations

import re
from functools import lru_cache

from turnwise.envs.platformer.course import SOLID, Course

__all__ = ["Landmark", "hangs", "landmarks", "told"]

Landmark = tuple[int, int, str, int, int]
"""First and last column, what it is, its height, and for steps and drops by how much."""

_THINGS = re.compile(r"\^+|=+|C|F")
_WORDS = {"^": "spikes", "C": "checkpoint", "F": "flag", "=": "platform"}


def landmarks(course: Course) -> list[Landmark]:
    """All of a course, from left to right."""
    found = [*_ground(course), *_roofs(course)]
    for row, line in enumerate(reversed(course.rows)):
        for match in _THINGS.finditer(line) if line.strip(".#o") else ():
            first, after = match.span()
            what = "hanging spikes" if line[first] == "^" and hangs(course, row, first) else _WORDS[line[first]]
            found.append((first, after - 1, what, row + 1, 0))
    return sorted(found)


def hangs(course: Course, row: int, column: int) -> bool:
    """Whether what is there hangs from a roof."""
    return course.grid[(row + 1) * course.width + column] == SOLID


@lru_cache(maxsize=4096)  # each is ahead of several places
def told(landmark: Landmark) -> str:
    """One of them in words."""
    first, last, what, height, by = landmark
    columns = f"columns {first} to {last}" if last > first else f"column {first}"
    if what == "pit":
        return f"pit, {columns}, its far side at height {height}"
    if by:
        return f"{what} {by} at {columns} to height {height}"
    return f"{what} at height {height}, {columns}" if what in ("platform", "roof") else f"{what}, {columns}"


def _ground(course: Course) -> list[Landmark]:
    found, ground = list[Landmark](), course.ground
    edges = [column for column in range(1, course.width - 1) if ground[column] != ground[column - 1]]
    for column, after in zip(edges, [*edges[1:], course.width - 1], strict=True):
        before, now = ground[column - 1], ground[column]
        if not now:
            found.append((column, after - 1, "pit", ground[after], 0))
        elif before:
            found.append((column, column, "step up" if now > before else "drop", now, abs(now - before)))
    return found


def _roofs(course: Course) -> list[Landmark]:
    """Ground above air, over one's head."""
    found, width = list[Landmark](), course.width
    first = last = row = -1
    for column in course.roofed:
        over = course.grid[column::width].index(SOLID, course.ground[column])
        if (column, over) != (last + 1, row):
            if last >= 0:
                found.append((first, last, "roof", row, 0))
            first, row = column, over
        last = column
    return [*found, (first, last, "roof", row, 0)] if last >= 0 else found
