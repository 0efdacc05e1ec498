"""The physics: whole numbers only, one tick after the other, the same on every machine.

In a tick, in this order:

1.  The jump button, if it is pressed in this tick and one stands, sets the speed upwards to JUMP.
2.  The speed along the ground goes by 1 towards RUN to the held side, or towards 0.
3.  One moves along the ground; ground stops one. Platforms do not: they are walked and jumped through.
4.  Who does not stand moves up or down. Ground stops one from both sides, a platform only from above. Then the speed changes by
    gravity: 1, but 2 while rising without the jump button; it falls at most FALL.
5.  The cell of one's middle: spikes kill, a coin is collected; in or beyond the column of the flag the course is solved.
6.  Who touches an enemy is dead; but who comes down on a walker from above removes it and bounces off with BOUNCE.

A body is WIDE by TALL units, an enemy 8 by 8 in the middle of its cell's floor; cells are 10 by 10.
"""

from __future__ import annotations

from typing import NamedTuple

from turnwise.envs.platformer.course import COIN, PLATFORM, SOLID, SPIKES, TILE, Course, Patrol

__all__ = [
    "BOUNCE",
    "FALL",
    "FELL",
    "FLAG",
    "HIT",
    "JUMP",
    "PLAYING",
    "RUN",
    "SPIKED",
    "TALL",
    "WIDE",
    "Body",
    "run",
    "spawned",
    "stands",
]

RUN, JUMP, FALL, BOUNCE = 4, 8, 8, 6
WIDE, TALL = 6, 8
PLAYING, FLAG, FELL, SPIKED, HIT = range(5)
_MIDDLE, _EDGE, _HALF = WIDE // 2, WIDE - 1, TALL // 2
_KILLED = -1


class Body(NamedTuple):
    """The whole state of play."""

    x: int
    """Left edge."""
    y: int
    """Feet."""
    vx: int
    vy: int
    tick: int
    gone: int
    """Mask of the enemies that were removed."""
    coins: int
    """Mask of the coins that were collected."""
    status: int
    """PLAYING, FLAG (solved), or how one died: FELL, SPIKED, HIT."""

    @property
    def column(self) -> int:
        """Of one's middle."""
        return (self.x + _MIDDLE) // TILE

    @property
    def row(self) -> int:
        """Of one's middle."""
        return (self.y + _HALF) // TILE


def spawned(course: Course, column: int, tick: int = 0, gone: int = 0, coins: int = 0) -> Body:
    """Somebody who stands in the middle of a column, at rest."""
    return Body(column * TILE + 2, course.ground[column] * TILE, 0, 0, tick, gone, coins, PLAYING)


def stands(course: Course, body: Body) -> bool:
    """Whether there is something under the feet, and one is not moving up or down."""
    if body.vy or body.y % TILE:
        return False
    under = (body.y // TILE - 1) * course.width
    return _carried(course.grid, under + body.x // TILE, under + (body.x + _EDGE) // TILE)


def _carried(grid: bytes, left: int, right: int) -> bool:
    """Whether one of two cells can be stood upon."""
    return SOLID <= grid[left] <= PLATFORM or SOLID <= grid[right] <= PLATFORM


def run(course: Course, body: Body, way: int, jump: bool, ticks: int, *, press: bool = True) -> Body:
    """Hold buttons for some ticks, or until the flag or death: `way` is -1, 0 or 1, `press` whether jump is pressed only now."""
    grid, width, near, flag, level, free = course.grid, course.width, course.near, course.flag, course.level, course.open
    x, y, vx, vy, tick, gone, coins, status = body
    aim, ground = way * RUN, stands(course, body)
    if jump and press and ground:
        vy, ground = JUMP, False
    end = tick + ticks
    while tick < end:
        tick += 1
        if vx != aim:
            vx += 1 if vx < aim else -1
        before = y
        if ground and level[y // TILE * width + (x + _MIDDLE) // TILE]:
            x += vx
            middle = (x + _MIDDLE) // TILE
        elif not ground and free[(y // TILE - (vy <= 0)) * width + (x + _MIDDLE) // TILE]:
            x, y = x + vx, y + vy
            if vy > -FALL:
                vy -= 2 if vy > 0 and not jump else 1
            middle = (x + _MIDDLE) // TILE
        else:
            if vx:
                to = x + vx
                column, old = ((to + _EDGE) // TILE, (x + _EDGE) // TILE) if vx > 0 else (to // TILE, x // TILE)
                if column != old:
                    ahead = y // TILE * width + column
                    if grid[ahead] == SOLID or (y % TILE > TILE - TALL and grid[ahead + width] == SOLID):
                        to = column * TILE - WIDE if vx > 0 else (column + 1) * TILE
                        vx = 0
                x = to
                if ground:
                    under = (y // TILE - 1) * width
                    ground = _carried(grid, under + x // TILE, under + (x + _EDGE) // TILE)
            if not ground:
                y, vy, ground = _risen_or_fallen(grid, width, x, y, vy, jump)
                if y < 0:
                    status = FELL
                    break
            middle = (x + _MIDDLE) // TILE
            here = grid[(y + _HALF) // TILE * width + middle]
            if here == SPIKES:
                status = SPIKED
                break
            if here == COIN:
                coins |= 1 << course.coins[(y + _HALF) // TILE * width + middle]
            if middle >= flag:
                status = FLAG
                break
        if near[middle]:
            met = _met(near[middle], gone, tick, x, before, y)
            if met == _KILLED:
                status = HIT
                break
            if met:
                gone, vy, ground = gone | met, BOUNCE, False
        elif ground and not vx and not aim:
            tick = end  # one stands still, and nothing comes here
    return Body(x, y, vx, vy, tick, gone, coins, status)


def _risen_or_fallen(grid: bytes, width: int, x: int, y: int, vy: int, jump: bool) -> tuple[int, int, bool]:
    """(y, vy, whether one stands) after a tick without ground; y below 0 in a pit."""
    to = y + vy
    if vy > 0:
        row = (to + TALL - 1) // TILE
        if row != (y + TALL - 1) // TILE:
            above = row * width
            if grid[above + x // TILE] == SOLID or grid[above + (x + _EDGE) // TILE] == SOLID:
                return row * TILE - TALL, -1, False
    elif vy < 0 and to // TILE != y // TILE and to >= 0:
        below = to // TILE * width
        if _carried(grid, below + x // TILE, below + (x + _EDGE) // TILE):
            return y // TILE * TILE, 0, True
    if vy > -FALL:
        vy -= 2 if vy > 0 and not jump else 1
    return to, vy, False


def _met(enemies: tuple[Patrol, ...], gone: int, tick: int, x: int, before: int, y: int) -> int:
    """What touching these does to somebody who came from height `before`: 0 nothing, the bit of a removed one, _KILLED."""
    for enemy in enemies:
        if gone >> enemy.bit & 1:
            continue
        ex, ey, _ = enemy.at(tick)
        if x < ex + 9 and x + WIDE > ex + 1 and y < ey + 8 and y + TALL > ey:
            return 1 << enemy.bit if enemy.stomped and before > y and before >= ey + 6 else _KILLED
    return 0
