"""A course: the ground, the things on it, and the enemies that patrol. It never changes; what a player did stands in a `Body`.

Distances are whole units, ten to a cell (TILE). Column 0 is on the left, row 0 at the bottom; a cell is `row * width + column`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["AIR", "COIN", "HEIGHT", "PLATFORM", "SOLID", "SPIKES", "START", "TILE", "Course", "Enemy", "Kind", "Patrol"]

TILE = 10
HEIGHT = 12
"""Rows of every course."""
START = 2
"""The column one starts in."""
AIR, SOLID, PLATFORM, SPIKES, COIN = range(5)
_CODES = bytes.maketrans(b".#=^oCF", bytes((AIR, SOLID, PLATFORM, SPIKES, COIN, AIR, AIR)))
_SIGNS = frozenset(".#=^oCF")
_WIDEST = 5_000

Kind = Literal["walker", "hedgehog", "bat"]
SPEED: dict[Kind, int] = {"walker": 1, "hedgehog": 1, "bat": 2}
"""Units a tick; walkers and hedgehogs go to and fro, bats up and down."""


class Enemy(NamedTuple):
    """It starts `phase` units along a way of `span` units and goes to and fro for ever; x and y are the near end of that way."""

    kind: Kind
    x: int
    y: int
    span: int
    phase: int


class Patrol(NamedTuple):
    """An enemy as the physics reads it."""

    bit: int
    """In the mask of those that are gone."""
    flies: bool
    stomped: bool
    """Whether jumping on it removes it."""
    x: int
    y: int
    span: int
    phase: int
    speed: int

    def at(self, tick: int) -> tuple[int, int, int]:
        """(x, y, direction) at a tick: the left bottom corner of its cell, and +1 right or up, -1 left or down."""
        along = (self.phase + self.speed * tick) % (2 * self.span)
        back = along >= self.span
        if back:
            along = 2 * self.span - along
        return (self.x, self.y + along, -1 if back else 1) if self.flies else (self.x + along, self.y, -1 if back else 1)


@dataclass(frozen=True, eq=False)
class Course:
    """What the physics and the views look things up in."""

    rows: tuple[str, ...]
    """[HEIGHT] from the top, each of `width` signs: . air, # ground, = platform, ^ spikes, o coin, C checkpoint, F flag."""
    width: int
    grid: bytes
    """[HEIGHT + 2, width] codes, flat and from the bottom: a lid above the course, then air (also read as what is below)."""
    near: tuple[tuple[Patrol, ...], ...]
    """[width] the enemies that can touch somebody whose middle is in that column."""
    patrols: tuple[Patrol, ...]
    coins: Mapping[int, int]
    """Cell -> bit."""
    checkpoints: tuple[int, ...]
    """Columns, the start first, in order."""
    flag: int

    def __deepcopy__(self, memo: object) -> Course:
        return self

    @cached_property
    def ground(self) -> tuple[int, ...]:
        """[width] rows of ground from the bottom up, 0 over a pit."""
        return tuple(np.logical_and.accumulate(self._solid, axis=0).sum(axis=0).tolist())

    @cached_property
    def level(self) -> bytes:
        """[HEIGHT + 2, width] like `grid`: 1 where this cell and those beside it hold air and have ground or platforms below.

        Who stands here just runs on in the next tick and meets nothing but enemies.
        """
        grid = np.frombuffer(self.grid, np.uint8).reshape(-1, self.width)
        found = np.zeros(grid.shape, np.bool_)
        found[1:] = (grid[:-1] == SOLID) | (grid[:-1] == PLATFORM)
        return _beside(found & self._air)

    @cached_property
    def open(self) -> bytes:
        """[HEIGHT + 2, width] like `grid`: 1 where this cell, the two above it and those beside them hold air.

        Who rises with the feet in this row, or falls with them in the row above, meets nothing but enemies in the next tick.
        """
        air = self._air
        found = np.zeros(air.shape, np.bool_)
        found[:-2] = air[:-2] & air[1:-1] & air[2:]
        return _beside(found)

    @property
    def _air(self) -> NDArray[np.bool_]:
        """[HEIGHT + 2, width] the cells before the flag that hold nothing."""
        air = np.frombuffer(self.grid, np.uint8).reshape(-1, self.width) == AIR
        air[:, self.flag :] = False
        return air

    @property
    def roofed(self) -> list[int]:
        """Columns with ground above air."""
        return np.flatnonzero(self._solid.sum(axis=0) > self.ground).tolist()

    @property
    def _solid(self) -> NDArray[np.bool_]:
        """[HEIGHT, width] from the bottom."""
        return np.frombuffer(self.grid, np.uint8).reshape(-1, self.width)[:HEIGHT] == SOLID

    @staticmethod
    def made(rows: Sequence[str], enemies: Sequence[Sequence[Any]], *, coins: bool = True) -> Course:
        """From a task's metadata; `coins=False` takes them away. Raises ValueError or TypeError for what is no course."""
        rows = tuple(rows) if coins else tuple([row.replace("o", ".") for row in rows])
        _check(rows)
        width = len(rows[0])
        text = "".join(rows[::-1])
        grid = text.encode().translate(_CODES) + bytes((SOLID,)) * width + bytes(width)
        patrols = tuple([_patrol(bit, Enemy(*given), width) for bit, given in enumerate(enemies)])
        near: list[tuple[Patrol, ...]] = [()] * width
        for patrol in patrols:
            last = patrol.x if patrol.flies else patrol.x + patrol.span
            for column in range(max(patrol.x // TILE - 1, 0), min(last // TILE + 3, width)):
                near[column] += (patrol,)
        at = {cell: bit for bit, cell in enumerate(_places(text, "o"))}
        checkpoints = (START, *sorted({cell % width for cell in _places(text, "C")}))
        return Course(rows, width, grid, tuple(near), patrols, at, checkpoints, text.index("F") % width)


def _beside(cells: NDArray[np.bool_]) -> bytes:
    """1 for those of the cells that have one on either side."""
    found = np.zeros(cells.shape, np.bool_)
    found[:, 1:-1] = cells[:, :-2] & cells[:, 1:-1] & cells[:, 2:]
    return found.tobytes()


def _places(text: str, sign: str) -> list[int]:
    found = list[int]()
    at = text.find(sign)
    while at >= 0:
        found.append(at)
        at = text.find(sign, at + 1)
    return found


def _check(rows: tuple[str, ...]) -> None:
    if len(rows) != HEIGHT or len({len(row) for row in rows}) != 1 or not START + 3 <= len(rows[0]) <= _WIDEST:
        raise ValueError(f"a course is {HEIGHT} rows of equal length, at most {_WIDEST}")
    if not all(set(row) <= _SIGNS for row in rows):
        raise ValueError("a course is made of . # = ^ o C and F")
    if any(row[0] != "#" or row[-1] != "#" for row in rows) or rows[-1][START] != "#" or rows[0][START] == "#":
        raise ValueError("a course has walls at both ends, and ground at the start")
    if sum(row.count("F") for row in rows) != 1:
        raise ValueError("a course has one flag")


def _patrol(bit: int, enemy: Enemy, width: int) -> Patrol:
    kind, *numbers = enemy
    if kind not in SPEED or not all(type(number) is int and number >= 0 for number in numbers) or enemy.span < 1:
        raise ValueError(f"an enemy is a kind of {tuple(SPEED)} and x, y, span (at least 1) and phase, got {enemy}")
    if enemy.x > (width - 2) * TILE:
        raise ValueError("an enemy is outside the course")
    return Patrol(bit, kind == "bat", kind == "walker", enemy.x, enemy.y, enemy.span, enemy.phase, SPEED[kind])
