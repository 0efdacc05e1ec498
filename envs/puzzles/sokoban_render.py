"""Sokoban as a picture: seven tiles, drawn once with numpy, put side by side."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from turnwise.envs.puzzles.sokoban_rules import SYMBOLS

__all__ = ["TILE", "picture"]

TILE = 32
"""Pixels a side."""

_Pixels = NDArray[np.uint8]
_Colour = tuple[int, int, int]

_FLOOR: _Colour = (222, 211, 190)
_FLOOR_EDGE: _Colour = (208, 196, 173)
_BRICK: _Colour = (92, 99, 115)
_MORTAR: _Colour = (58, 63, 76)
_BRICK_LIGHT: _Colour = (116, 124, 142)
_GOAL: _Colour = (196, 52, 63)
_BOX: _Colour = (201, 142, 66)
_BOX_DARK: _Colour = (128, 82, 30)
_HOME: _Colour = (96, 166, 84)
_HOME_DARK: _Colour = (43, 98, 45)
_SHIRT: _Colour = (44, 104, 190)
_SKIN: _Colour = (241, 196, 156)
_HAIR: _Colour = (66, 44, 32)


def picture(text: str) -> _Pixels:
    """The board of `text_of` as uint8 [rows * TILE, columns * TILE, 3], a fresh array."""
    cells = np.array([[SYMBOLS.index(symbol) for symbol in row[::2]] for row in text.split("\n")])
    height, width = cells.shape
    return _tiles()[cells].swapaxes(1, 2).reshape(height * TILE, width * TILE, 3)


@lru_cache(maxsize=1)
def _tiles() -> _Pixels:
    """[7, TILE, TILE, 3] in the order of SYMBOLS: wall, floor, goal, box, box on goal, man, man on goal."""
    floor, goal = _floor(), _goal(_floor())
    tiles = np.stack(
        [_wall(), floor, goal, _box(floor, _BOX, _BOX_DARK), _box(goal, _HOME, _HOME_DARK, mark=True), _man(floor), _man(goal)]
    )
    tiles.setflags(write=False)
    return tiles


def _disc(row: float, column: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[:TILE, :TILE]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def _floor() -> _Pixels:
    tile = np.empty((TILE, TILE, 3), np.uint8)
    tile[:] = _FLOOR
    tile[0], tile[:, 0] = _FLOOR_EDGE, _FLOOR_EDGE
    return tile


def _wall() -> _Pixels:
    tile = np.empty((TILE, TILE, 3), np.uint8)
    tile[:] = _MORTAR
    for course in range(4):
        top = 8 * course
        for left in range(-8 if course % 2 else 0, TILE, 16):
            start, stop = max(left, 0), left + 15
            tile[top : top + 7, start:stop] = _BRICK
            tile[top, start:stop] = _BRICK_LIGHT
    return tile


def _goal(tile: _Pixels) -> _Pixels:
    """A red ring with a dot: a ring shows around the man who stands on it."""
    tile[_disc(15.5, 15.5, 13.5) & ~_disc(15.5, 15.5, 10.5)] = _GOAL
    tile[_disc(15.5, 15.5, 3.5)] = _GOAL
    return tile


def _box(ground: _Pixels, light: _Colour, dark: _Colour, mark: bool = False) -> _Pixels:
    tile = ground.copy()
    tile[3:29, 3:29] = dark
    tile[5:27, 5:27] = light
    rows, columns = np.ogrid[:TILE, :TILE]
    inner = (np.abs(rows - 15.5) < 10) & (np.abs(columns - 15.5) < 10)
    tile[inner & ((np.abs(rows - columns) <= 1) | (np.abs(rows + columns - 31) <= 1))] = dark
    tile[7:9, 5:27], tile[23:25, 5:27] = dark, dark
    if mark:
        tile[_disc(15.5, 15.5, 6.5)] = dark
        tile[_disc(15.5, 15.5, 4.5)] = (250, 240, 130)
    return tile


def _man(ground: _Pixels) -> _Pixels:
    tile = ground.copy()
    tile[_disc(23, 15.5, 7.5) & (np.arange(TILE)[:, None] < 28)] = _SHIRT
    tile[_disc(11, 15.5, 6)] = _HAIR
    tile[_disc(12.5, 15.5, 5)] = _SKIN
    tile[12:14, 13:15], tile[12:14, 17:19] = _HAIR, _HAIR
    return tile
