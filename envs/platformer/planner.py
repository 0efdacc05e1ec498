"""The expert: a best-first search over button presses with the exact physics, a stretch of the way at a time.

A rough map says how far it is to the flag from every place that one can stand on: over such places, in hops that a jump could
make. The search holds each combination of buttons for up to 20 ticks and goes on from every second one of them, towards what is
nearer by that map, until one stands a stretch nearer to the flag and no enemy comes there. Its cost is the number of commands
first and the ticks second. What it found is kept; it searches again where play went another way.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from copy import copy
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from turnwise.envs.platformer.course import HEIGHT, PLATFORM, SOLID, SPIKES, TILE, Course
from turnwise.envs.platformer.physics import FLAG, PLAYING, RUN, Body, run, stands

__all__ = ["LONGEST", "Command", "Planner"]

LONGEST = 20
"""Ticks of a command."""
_BUTTONS = ((1, False), (1, True), (0, False), (0, True), (-1, False), (-1, True))
_EVERY = 2
_BUDGET = 2_000
"""Positions looked at, at most; courses of ours need some ten."""
_TICK = 0.01
"""What a tick costs, in commands."""
_HURRY = 3.0 * TILE / (RUN * LONGEST)
"""Commands that a cell of the way ahead counts: thrice as many as it takes, which looks at fewer positions for a command more."""
_STRETCH = 8
"""Cells that one plans ahead, at least."""
_HOP, _RISE = 6, 3
"""Columns and rows of a hop of the rough map."""
_JUMP = 3
"""Cells that a hop other than a step counts more."""
_NOWHERE = 1 << 20


class Command(NamedTuple):
    """Buttons that are held for some ticks."""

    way: int
    """-1 left, 0 neither, 1 right."""
    jump: bool
    ticks: int


class Planner:
    """Plans for one course; `next` is the first command from a position."""

    def __init__(self, course: Course, *, coins: bool) -> None:
        """`coins`: whether it collects the coins on its way."""
        self.course = course
        self._surfaces = _surfaces(course)
        self._near_enemies = _close(course)
        self._coins = (
            [(cell % course.width, 1 << bit, cell // course.width) for cell, bit in course.coins.items()] if coins else []
        )
        self._plan: dict[Body, Command] = {}

    def __deepcopy__(self, memo: object) -> Planner:
        return copy(self)  # what it refers to is replaced, never changed

    def next(self, body: Body) -> Command:
        """The first command of a way from here to a safe place nearer to the flag; where there is none, of what comes nearest."""
        if body not in self._plan:
            plan, found = self._search(body)
            if not found and self._coins:
                self._coins = [coin for coin in self._coins if coin[0] > body.column]
                plan, _ = self._search(body)
            self._plan = plan
        return self._plan.get(body, Command(0, False, LONGEST))

    def _missing(self, body: Body, column: int) -> int:
        """The coins up to a column, or up to where one is if that is farther, that were not collected."""
        last = max(column, body.column)
        return sum([bit for at, bit, _ in self._coins if at <= last and not body.coins & bit])

    def _search(self, start: Body) -> tuple[dict[Body, Command], bool]:
        """(position -> command along the way, whether it is a whole stretch)"""
        near, to_column = self._distance(start.column, start.row) - _STRETCH, start.column
        came: dict[Body, tuple[Body, Command]] = {}
        seen, order, budget = {self._key(start)}, count(), _BUDGET
        best = (self._ahead(start, to_column), start)
        queue = [(best[0], 0, 0.0, start)]
        while queue and budget:
            _, _, cost, body = heappop(queue)
            if body.status == FLAG or (self._distance(body.column, body.row) <= near and self._rests(body, to_column)):
                return _way(came, body), True
            budget -= 1
            for command, to in self._held(body):
                key = self._key(to)
                if key in seen or (to.status == FLAG and self._missing(to, to_column)):
                    continue
                seen.add(key)
                came[to] = (body, command)
                ahead, so_far = self._ahead(to, to_column), cost + 1.0 + _TICK * command.ticks
                heappush(queue, (so_far + ahead, next(order), so_far, to))
                if ahead < best[0]:
                    best = (ahead, to)
        return _way(came, best[1]), False

    def _held(self, body: Body) -> Iterator[tuple[Command, Body]]:
        """What comes of holding each combination of buttons for 2, 4, ... ticks, as long as one lives."""
        if body.status != PLAYING:
            return
        course, standing = self.course, stands(self.course, body)
        for way, jump in _BUTTONS:
            if jump and not standing and body.vy <= 0:
                continue  # the same as without
            to = body
            for ticks in range(_EVERY, LONGEST + 1, _EVERY):
                to = run(course, to, way, jump, _EVERY, press=to is body)
                if to.status > FLAG:
                    break
                yield Command(way, jump, ticks), to
                if to.status == FLAG:
                    break

    def _rests(self, body: Body, to_column: int) -> bool:
        return not self.course.near[body.column] and stands(self.course, body) and not self._missing(body, to_column)

    def _ahead(self, body: Body, to_column: int) -> float:
        """Commands to the farthest missing coin and from there to the flag, weighted."""
        missing = self._missing(body, to_column) if self._coins else 0
        if not missing:
            return _HURRY * self._distance(body.column, body.row)
        coins = [(column, row) for column, bit, row in self._coins if bit & missing]
        legs = max([abs(column - body.column) + abs(row - body.row) for column, row in coins])
        return _HURRY * (legs + len(coins) * _STRETCH + min([self._distance(*coin) for coin in coins]))

    def _distance(self, column: int, row: int) -> int:
        """Cells to the flag by the rough map, from what one would come down on."""
        surfaces = self._surfaces
        for height, cells in surfaces[column]:
            if height <= row:
                return cells
        for beside in (*range(1, _HOP + 1), *range(-1, -_HOP - 1, -1)):
            if 0 <= column + beside < len(surfaces):
                for height, cells in surfaces[column + beside]:
                    if height <= row + _RISE:
                        return cells + abs(beside) + _JUMP
        return _NOWHERE

    def _key(self, body: Body) -> Hashable:
        """Positions with equal keys count as one; the tick matters only where enemies are near."""
        return (*body[:4], *body[5:], body.tick // 4 if self._near_enemies[body.column] else 0)


def _way(came: dict[Body, tuple[Body, Command]], body: Body) -> dict[Body, Command]:
    """Position -> command, along the way to `body`."""
    way: dict[Body, Command] = {}
    while body in came:
        body, command = came[body]
        way[body] = command
    return way


def _surfaces(course: Course) -> list[list[tuple[int, int]]]:
    """[width] the heights that one can stand at in a column, from the top, each with its cells to the flag."""
    heights = [_heights(course, column) for column in range(course.width)]
    cells = {(course.flag, height): 0 for height in heights[course.flag]}
    queue = [(0, *place) for place in cells]
    while queue:
        so_far, column, height = heappop(queue)
        if so_far > cells[column, height]:
            continue
        for way in (-1, 1):
            highest = 0  # ground between there and here
            for apart in range(1, _HOP + 1):
                there = column + way * apart
                if not 0 < there < course.width - 1:
                    break
                for start in heights[there]:
                    if height - start <= _RISE and highest - start <= _RISE:
                        total = so_far + apart + (0 if apart == 1 and start == height else _JUMP)
                        if total < cells.get((there, start), _NOWHERE):
                            cells[there, start] = total
                            heappush(queue, (total, there, start))
                highest = max(highest, course.ground[there])
    return [[(height, cells.get((column, height), _NOWHERE)) for height in of] for column, of in enumerate(heights)]


def _heights(course: Course, column: int) -> list[int]:
    code = course.grid[column :: course.width]
    return [row for row in range(HEIGHT - 1, 0, -1) if SOLID <= code[row - 1] <= PLATFORM and code[row] not in (SOLID, SPIKES)]


def _close(course: Course) -> list[bool]:
    """[width] whether an enemy comes within a stretch."""
    busy = bytes(bool(enemies) for enemies in course.near)
    return [1 in busy[max(column - _STRETCH, 0) : column + _STRETCH + 1] for column in range(course.width)]
