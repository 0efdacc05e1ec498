"""What the player sees of a course: a window of cells that goes along, as text. `frames` draws the very same window."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
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
_LABELS = [f"\n{row:>2} ".encode() for row in reversed(range(HEIGHT))]
_THINGS = 3
"""Landmarks that are named."""
_FLOOR, _YOU, _DEAD = ord("."), ord("@"), ord("%")


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
        text = _ruler(first) + b"".join([label + row[first:after] for label, row in zip(_LABELS, self._rows, strict=True)])
        inside = {p: None for column in range(max(first - 1, 0), min(after + 1, course.width), 3) for p in course.near[column]}
        coins = [
            (bit, _place(cell // course.width, cell % course.width - first))
            for cell, bit in course.coins.items()
            if first <= cell % course.width < after
        ]
        return Window(first, text, tuple([(self._kinds[p.bit], p) for p in inside]), tuple(coins))

    def text(self, body: Body) -> str:
        """Map and words."""
        window = self.window(body)
        return f"{self._map(window, body)}\n{self._words(window, body)}"

    def map(self, body: Body) -> str:
        """The window as text: a ruler of columns, then rows with their heights from the top."""
        return self._map(self.window(body), body)

    def words(self, body: Body) -> str:
        """Position and speed in cells, what comes next, and the enemies on their beats."""
        return self._words(self.window(body), body)

    def _map(self, window: Window, body: Body) -> str:
        text = bytearray(window.text)
        for bit, place in window.coins:
            if body.coins >> bit & 1:
                text[place] = _FLOOR
        for kind, patrol in window.patrols:
            if not body.gone >> patrol.bit & 1:
                x, y, _ = patrol.at(body.tick)
                column, row = (x + TILE // 2) // TILE - window.first, (y + TILE // 2) // TILE
                if 0 <= column < COLUMNS and row < HEIGHT:
                    text[_place(row, column)] = ord(SIGNS[kind])
        text[_place(min(max(body.row, 0), HEIGHT - 1), body.column - window.first)] = _DEAD if body.status > 1 else _YOU
        return text.decode()

    def _words(self, window: Window, body: Body) -> str:
        x, y, vx, vy, tick, gone, _, _ = body
        how = "standing" if stands(self.course, body) else "in the air"
        distance, text = self._next(window, body)
        ahead = f"Ahead, {distance / TILE if distance > 0 else 0.0} away: {text}." if text else "Ahead: nothing."
        line = (
            f"You: x {(x + _MIDDLE) / TILE}, feet at height {y / TILE}, {how}, speed {vx / TILE} along, {vy / TILE} up. "
            f"Tick {tick}. Flag at column {self.course.flag}.\n{ahead}"
        )
        patrols = window.patrols
        enemies = [self._enemy(kind, patrol, tick) for kind, patrol in patrols if not gone >> patrol.bit & 1] if patrols else []
        return f"{line}\nEnemies: {'; '.join(enemies)}." if enemies else line

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
    def _enemy(kind: str, patrol: Patrol, tick: int) -> str:
        x, y, way = patrol.at(tick)
        if patrol.flies:
            towards = f"{'up' if way > 0 else 'down'} (from {patrol.y / TILE} to {(patrol.y + patrol.span) / TILE})"
            return f"{kind} in column {x // TILE}, height {y / TILE}, going {towards}"
        middle = TILE // 2
        beat = f"(from {(patrol.x + middle) / TILE} to {(patrol.x + patrol.span + middle) / TILE})"
        return f"{kind} at x {(x + middle) / TILE}, height {y / TILE}, going {'right' if way > 0 else 'left'} {beat}"


def _place(row: int, column: int) -> int:
    """Where in a window's text a cell stands; `column` counts from its first."""
    return (HEIGHT - row) * _LINE + _MARGIN + column


assert TALL < TILE  # one's middle is in one cell


@cache
def _ruler(first: int) -> bytes:
    """The line above the map: every fifth column's number, where it begins."""
    numbers = "".join([f"{column:<5}" for column in range(first + -first % 5, first + COLUMNS, 5)])
    return f"{' ' * (_MARGIN + -first % 5)}{numbers}"[: _LINE - 1].ljust(_LINE - 1).encode()
