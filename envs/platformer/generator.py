"""Random courses: sections in a row, each of which can be passed by how it is made; between them there is safe flat ground.

A full jump is some six cells wide and three and a half high. No section asks for a wider gap than five cells, a step of more than
three, or less than two cells of headroom, and none has a place that one can get into alive and not out of again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from turnwise.envs.draws import Draws
from turnwise.envs.platformer.course import HEIGHT, TILE

__all__ = ["LEVELS", "Level", "random_course"]

_LOW, _HIGH = 2, 5
"""Rows of ground between which sections begin and end."""


class Level(NamedTuple):
    sections: int
    towers: int
    """How many of the sections are towers; one at least, so that nobody gets to the flag by going right for ever."""
    checkpoint: int
    """Sections from one checkpoint to the next."""
    hard: int
    """How wide and high things get, 0 to 3."""
    kinds: int
    """How many of SECTIONS, in order, occur."""


LEVELS: dict[int, Level] = {
    1: Level(6, 1, 6, 0, 4),
    2: Level(9, 1, 5, 1, 7),
    3: Level(17, 2, 6, 2, 10),
    4: Level(30, 3, 6, 3, 11),
    5: Level(60, 5, 7, 3, 11),
}


class Builder:
    """A course that grows from left to right."""

    def __init__(self, draws: Draws, hard: int) -> None:
        self.draws, self.hard = draws, hard
        self.columns: list[str] = [_column(HEIGHT)]
        self.enemies: list[tuple[str, int, int, int, int]] = []
        self.ground = draws.below(_HIGH - _LOW + 1) + _LOW

    def flat(self, count: int) -> None:
        self.columns += [_column(self.ground)] * count

    def with_sign(self, sign: str, row: int, ground: int | None = None) -> None:
        """A column with one thing in it."""
        self.columns.append(_column(self.ground if ground is None else ground, row, sign))

    def enemy(self, kind: str, x: int, y: int, span: int) -> None:
        """In cells; it starts anywhere on its way."""
        self.enemies.append((kind, x * TILE, y * TILE, span * TILE, self.draws.below(2 * span * TILE)))

    def change(self, most: int) -> int:
        """A height up to `most` above or below, within what the next section may begin with."""
        return self.draws.pick([by for by in range(-3, most + 1) if _LOW <= self.ground + by <= _HIGH])


@cache
def _column(ground: int, row: int = -1, sign: str = "") -> str:
    """[HEIGHT] signs from the bottom."""
    text = "#" * ground + "." * (HEIGHT - ground)
    return f"{text[:row]}{sign}{text[row + 1 :]}" if sign else text


def random_course(draws: Draws, difficulty: int) -> dict[str, Any]:
    """The metadata of a course: `rows` from the top, `enemies` as lists of Enemy's fields."""
    level = LEVELS[difficulty]
    builder = Builder(draws, level.hard)
    builder.flat(4)
    towers, before = set(draws.shuffled(range(level.sections))[: level.towers]), -1
    for number in range(level.sections):
        kind = draws.below(level.kinds)
        before = kind = (kind + 1) % level.kinds if kind == before else kind
        if number and number % level.checkpoint == 0:
            builder.with_sign("C", builder.ground)
        builder.flat(3 + draws.below(3))
        (_tower if number in towers else SECTIONS[kind])(builder)
    builder.flat(5)
    builder.with_sign("F", builder.ground)
    builder.flat(3)
    builder.columns.append(_column(HEIGHT))
    rows = ["".join(row) for row in zip(*builder.columns, strict=True)][::-1]
    return {"rows": rows, "enemies": [list(enemy) for enemy in builder.enemies]}


def _pit(b: Builder) -> None:
    """A gap; the wider, the less high the other side."""
    width = 2 + b.draws.below(2 + min(b.hard, 2))
    rise = b.change(1 if width < 4 else 0)
    coin = b.draws.below(2 * width)
    for at in range(width):
        if at == coin:
            b.with_sign("o", b.ground + 2, ground=0)
        else:
            b.columns.append(_column(0))
    b.ground += rise


def _teeth(b: Builder) -> None:
    """Spikes that hang from a roof: one runs below them, and must not jump."""
    roofed = b.ground * "#" + "..^##" + "." * (HEIGHT - b.ground - 5)
    b.columns += [roofed] * (5 + b.draws.below(4))


def _wall(b: Builder) -> None:
    """A wall to jump over."""
    tall, wide = 2 + b.draws.below(2), 1 + b.draws.below(2)
    b.columns += [_column(b.ground + tall)] * wide


def _spikes(b: Builder) -> None:
    """Spikes on the ground, sometimes with a coin over them."""
    wide = 1 + b.draws.below(2 + b.hard)
    b.columns += [_column(b.ground, b.ground, "^")] * wide


def _steps(b: Builder) -> None:
    """One to three steps, up or down."""
    for _ in range(1 + b.draws.below(1 + min(b.hard, 2))):
        b.ground += b.change(3) or (1 if b.ground < _HIGH else -1)
        b.flat(1 + b.draws.below(2))


def _walker(b: Builder) -> None:
    """A walker on its beat; one jumps over it, or onto it."""
    beat = 3 + b.draws.below(4)
    b.enemy("walker", len(b.columns) + 1, b.ground, beat)
    b.flat(2)
    if b.draws.below(2):
        b.with_sign("o", b.ground + 2)
    b.flat(beat)


def _stones(b: Builder) -> None:
    """A pit with platforms in it."""
    at = b.ground
    for _ in range(1 + b.draws.below(2 + b.hard)):
        b.columns += [_column(0)] * (2 + b.draws.below(2 + (b.hard > 1)))
        at = b.draws.pick([row for row in (at - 1, at, at + 1) if _LOW <= row <= _HIGH])
        wide = 1 + b.draws.below(2)
        b.columns += [_column(0, at - 1, "=")] * wide
    b.columns += [_column(0)] * (2 + b.draws.below(2))
    b.ground = b.draws.pick([row for row in (at - 2, at - 1, at, at + 1) if _LOW <= row <= _HIGH])


def _hedgehog(b: Builder) -> None:
    """A hedgehog on its beat; one cannot jump onto it."""
    beat = 2 + b.draws.below(3)
    b.enemy("hedgehog", len(b.columns) + 1, b.ground, beat)
    b.flat(beat + 3)


def _tunnel(b: Builder) -> None:
    """A low roof, and spikes below it."""
    before, after = 2 + b.draws.below(3), 2 + b.draws.below(3)
    roofed = b.ground * "#" + ".." + "##" + "." * (HEIGHT - b.ground - 4)
    b.columns += [roofed] * before
    b.columns.append(f"{roofed[: b.ground]}^{roofed[b.ground + 1 :]}")
    b.columns += [roofed] * after


def _bat(b: Builder) -> None:
    """A pit with a bat that flies up and down in it."""
    wide = 3 + b.draws.below(2)
    b.enemy("bat", len(b.columns) + wide // 2, b.ground - 1, 4 + b.draws.below(2))
    b.columns += [_column(0)] * wide


def _climb(b: Builder) -> None:
    """A high wall with a platform before it to climb it by; sometimes a coin on top."""
    tall = min(5 + b.draws.below(2), 8 - b.ground)
    if tall > 3:
        b.columns += [_column(b.ground, b.ground + 2, "=")] * (2 + b.draws.below(2))
    top = b.ground + tall
    b.columns.append(_column(top))
    if b.draws.below(2):
        b.columns.append(_column(top, top, "o"))
    b.columns.append(_column(top))


def _tower(b: Builder) -> None:
    """A wall that one gets up by turning back: onto the platform before it, left onto a higher one, right onto the wall."""
    b.ground = _LOW
    b.flat(8)  # too far to jump onto the higher platform from what was before
    low, high = b.ground + 2, b.ground + 5
    b.columns += [_column(b.ground, high, "=")] * 2
    b.columns += [_column(b.ground)] * (1 + b.draws.below(2))
    b.columns += [_column(b.ground, low, "=")] * 2
    b.columns += [_column(b.ground + 7 + b.draws.below(2))] * (1 + b.draws.below(2))


SECTIONS: tuple[Callable[[Builder], None], ...] = (
    _pit,
    _teeth,
    _spikes,
    _walker,
    _wall,
    _steps,
    _stones,
    _hedgehog,
    _tunnel,
    _bat,
    _climb,
)
"""From the first ones met to the last. The first four kill, some of them who jumps and some who does not: were walls and steps
among them, which forgive, the moves that solved one course would solve many others."""
