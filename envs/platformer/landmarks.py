"""What lies ahead on a course, in words: pits, steps, drops, spikes, platforms, roofs, checkpoints, the flag."""

from __future__ import annotations

import re
from typing import NamedTuple

from turnwise.envs.platformer.course import HEIGHT, SOLID, Course

__all__ = ["Landmark", "landmarks"]

_THINGS = re.compile(r"\^+|=+|C|F")
_WORDS = {"^": "spikes", "C": "checkpoint", "F": "flag"}


class Landmark(NamedTuple):
    first: int
    last: int
    """Columns."""
    text: str


def landmarks(course: Course) -> list[Landmark]:
    """All of a course, from left to right."""
    found = [*_ground(course), *_roofs(course)]
    for row, line in enumerate(reversed(course.rows)):
        for match in _THINGS.finditer(line):
            first, last = match.start(), match.end() - 1
            sign = match[0][0]
            what = f"platform at height {row + 1}" if sign == "=" else _WORDS[sign]
            found.append(Landmark(first, last, f"{what}, {_columns(first, last)}"))
    return sorted(found)


def _columns(first: int, last: int) -> str:
    return f"columns {first} to {last}" if last > first else f"column {first}"


def _ground(course: Course) -> list[Landmark]:
    found, ground = list[Landmark](), course.ground
    edges = [column for column in range(1, course.width - 1) if ground[column] != ground[column - 1]]
    for column, after in zip(edges, [*edges[1:], course.width - 1], strict=True):
        before, now = ground[column - 1], ground[column]
        if not now:
            found.append(
                Landmark(column, after - 1, f"pit, {_columns(column, after - 1)}, its far side at height {ground[after]}")
            )
        elif before:
            what = f"step up {now - before}" if now > before else f"drop {before - now}"
            found.append(Landmark(column, column, f"{what} at column {column} to height {now}"))
    return found


def _roofs(course: Course) -> list[Landmark]:
    """Ground above air, over one's head."""
    found, width, grid = list[Landmark](), course.width, course.grid
    heights: list[tuple[int, int]] = []
    for column in course.roofed:
        row = next(row for row in range(course.ground[column], HEIGHT) if grid[row * width + column] == SOLID)
        heights.append((column, row))
    while heights:
        first, row = last, _ = heights.pop(0)
        while heights and heights[0] == (last + 1, row):
            last = heights.pop(0)[0]
        found.append(Landmark(first, last, f"roof at height {row}, {_columns(first, last)}"))
    return found
