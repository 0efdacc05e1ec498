"""What the player sees of a course: a window of cells that goes along, as text. `frames` draws the very same window."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import NamedTuple

from turnwise.envs.platformer.course import HEIGHT, TILE, Course, Patrol
from turnwise.envs.platformer.landmarks import landmarks, told
from turnwise.envs.platformer.physics import TALL, WIDE, Body, stands

__all__ = ["BEHIND", "COLUMNS", "SIGNS", "View", "Window"]

COLUMNS, BEHIND = 22, 5
"""Columns of the window, and how many of them lie behind the player where the course is long enough."""
SIGNS = {"walker": "w", "hedgehog": "h", "bat": "v"}
_MARGIN = 3
_MIDDLE = WIDE // 2
_LINE = _MARGIN + COLUMNS + 1
_TEXT = b"%b" + b"".join([f"\n{row:>2} %b".encode() for row in reversed(range(HEIGHT))])
"""Ruler and rows."""
_THINGS = 3
"""Landmarks that are named."""
_FLOOR, _YOU, _DEAD = ord("."), ord("@"), ord("%")


Seen = tuple[str, Patrol, tuple[int, int, int]]
"""An enemy: its kind, its beat, and (x, y, direction) now."""


class Window(NamedTuple):
    """What of the course lies in the window that begins at column `first`; nothing in it moves."""

    first: int
    text: bytes
    patrols: tuple[tuple[str, Patrol], ...]
    """Those that can be in it, with their kinds."""
    coins: tuple[tuple[int, int], ...]
    """(bit, place in the text)"""


class View:
    """The text of a course, window by window, kept once made."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self._kinds = {
            patrol.bit: "bat" if patrol.flies else "walker" if patrol.stomped else "hedgehog" for patrol in course.patrols
        }
        self._landmarks = landmarks(course)
        self._lasts = [0] * len(self._landmarks)
        furthest = 0
        for index, landmark in enumerate(self._landmarks):
            furthest = self._lasts[index] = max(furthest, landmark[1])
        self._rows = [row.ljust(COLUMNS).encode() for row in course.rows]
        self._windows: dict[int, Window] = {}
        self._ahead: dict[int, tuple[int, str]] = {}

    def __deepcopy__(self, memo: object) -> View:
        return self

    def window(self, body: Body) -> Window:
        """The window that goes with a position."""
        first = min(max(body.column - BEHIND, 0), max(self.course.width - COLUMNS, 0))
        if first not in self._windows:
            self._windows[first] = self._made(first)
        return self._windows[first]

    def _made(self, first: int) -> Window:
        course, after = self.course, first + COLUMNS
        text = _TEXT % (_ruler(first), *[row[first:after] for row in self._rows])
        inside = dict.fromkeys(chain(*course.near[max(first - 1, 0) : after + 1 : 3]))
        coins = [
            (bit, _place(cell // course.width, cell % course.width - first))
            for cell, bit in course.coins.items()
            if first <= cell % course.width < after
        ]
        return Window(first, text, tuple([(self._kinds[p.bit], p) for p in inside]), tuple(coins))

    def text(self, body: Body) -> str:
        """Map and words."""
        window = self.window(body)
        enemies = _alive(window, body)
        return f"{self._map(window, body, enemies)}\n{self._words(window, body, enemies)}"

    def map(self, body: Body) -> str:
        """The window as text: a ruler of columns, then rows with their heights from the top."""
        window = self.window(body)
        return self._map(window, body, _alive(window, body))

    def words(self, body: Body) -> str:
        """Position and speed in cells, what comes next, and the enemies on their beats."""
        window = self.window(body)
        return self._words(window, body, _alive(window, body))

    def _map(self, window: Window, body: Body, enemies: Sequence[Seen]) -> str:
        text = bytearray(window.text)
        for bit, place in window.coins:
            if body.coins >> bit & 1:
                text[place] = _FLOOR
        for kind, _, (x, y, _) in enemies:
            column, row = (x + TILE // 2) // TILE - window.first, (y + TILE // 2) // TILE
            if 0 <= column < COLUMNS and row < HEIGHT:
                text[_place(row, column)] = ord(SIGNS[kind])
        text[_place(min(max(body.row, 0), HEIGHT - 1), body.column - window.first)] = _DEAD if body.status > 1 else _YOU
        return text.decode()

    def _words(self, window: Window, body: Body, enemies: Sequence[Seen]) -> str:
        x, y, vx, vy, tick, _, _, _ = body
        how = "standing" if stands(self.course, body) else "in the air"
        distance, text = self._next(window, body)
        ahead = f"Ahead, {_tenths(distance) if distance > 0 else '0.0'} away: {text}." if text else "Ahead: nothing."
        line = (
            f"You: x {_tenths(x + _MIDDLE)}, feet at height {_tenths(y)}, {how}, speed {_tenths(vx)} along, {_tenths(vy)} up. "
            f"Tick {tick}. Flag at column {self.course.flag}.\n{ahead}"
        )
        return f"{line}\nEnemies: {'; '.join([self._enemy(*enemy) for enemy in enemies])}." if enemies else line

    def _next(self, window: Window, body: Body) -> tuple[int, str]:
        """(distance to the first thing, the next things in words)"""
        column = body.column
        found = self._ahead.get(column)
        if found is None:
            end = window.first + COLUMNS
            start = bisect_right(self._lasts, column)
            things = [mark for mark in self._landmarks[start : start + 9] if mark[1] > column and mark[0] < end][:_THINGS]
            found = (things[0][0] * TILE, "; ".join(map(told, things))) if things else (0, "")
            self._ahead[column] = found
        return found[0] - body.x - WIDE, found[1]

    @staticmethod
    def _enemy(kind: str, patrol: Patrol, at: tuple[int, int, int]) -> str:
        x, y, way = at
        if patrol.flies:
            beat = _beat(patrol.y, patrol.y + patrol.span)
            return f"{kind} in column {x // TILE}, height {_tenths(y)}, going {'up' if way > 0 else 'down'} {beat}"
        middle = TILE // 2
        beat = _beat(patrol.x + middle, patrol.x + patrol.span + middle)
        return f"{kind} at x {_tenths(x + middle)}, height {_tenths(y)}, going {'right' if way > 0 else 'left'} {beat}"


def _alive(window: Window, body: Body) -> list[Seen]:
    """The enemies of a window that are not gone, and where they are."""
    patrols, gone, tick = window.patrols, body.gone, body.tick
    return [(kind, patrol, patrol.at(tick)) for kind, patrol in patrols if not gone >> patrol.bit & 1] if patrols else []


@lru_cache(maxsize=4096)
def _tenths(units: int) -> str:
    """Units as cells."""
    return str(units / TILE)


@lru_cache(maxsize=4096)
def _beat(first: int, last: int) -> str:
    return f"(from {_tenths(first)} to {_tenths(last)})"


def _place(row: int, column: int) -> int:
    """Where in a window's text a cell stands; `column` counts from its first."""
    return (HEIGHT - row) * _LINE + _MARGIN + column


assert TALL < TILE  # one's middle is in one cell


@cache
def _ruler(first: int) -> bytes:
    """The line above the map: every fifth column's number, where it begins."""
    numbers = "".join([f"{column:<5}" for column in range(first + -first % 5, first + COLUMNS, 5)])
    return f"{' ' * (_MARGIN + -first % 5)}{numbers}"[: _LINE - 1].ljust(_LINE - 1).encode()
