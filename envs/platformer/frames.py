"""What the player sees as a picture: the cells of `View.map`, 20 pixels a side, with everything at its exact place.

One unit of the physics is SCALE pixels. The pictures of things are drawn below, a character a unit.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from turnwise.envs.platformer.course import AIR, HEIGHT, SOLID, TILE, Course, Patrol
from turnwise.envs.platformer.landmarks import hangs
from turnwise.envs.platformer.physics import Body
from turnwise.envs.platformer.view import COLUMNS, View

__all__ = ["FRAME", "SCALE", "frame"]

SCALE = 2
FRAME = (HEIGHT * TILE * SCALE, COLUMNS * TILE * SCALE, 3)
"""Shape of a frame."""

_INKS = {
    "K": (38, 34, 48),
    "W": (250, 250, 250),
    "R": (214, 54, 48),
    "B": (44, 84, 188),
    "S": (250, 204, 160),
    "G": (92, 176, 76),
    "g": (66, 140, 60),
    "D": (158, 108, 66),
    "d": (134, 88, 54),
    "P": (196, 144, 84),
    "p": (150, 102, 58),
    "M": (150, 78, 160),
    "m": (232, 206, 172),
    "H": (108, 84, 70),
    "h": (72, 54, 48),
    "V": (70, 62, 104),
    "Y": (250, 204, 60),
    "y": (214, 150, 34),
    "X": (176, 184, 196),
    "x": (116, 124, 140),
    "C": (70, 190, 220),
}
"""Character -> colour; "." lets through what is behind."""

_ART = {
    "grass": "GGGGGGGGGG GgGGGgGGgG DgDGDgDDgD DDDDDDDDDD DDdDDDDDDD DDDDDDdDDD DDDDDDDDDD DdDDDDDDdD DDDDdDDDDD DDDDDDDDDD",
    "earth": "DDDDDDDDDD DDdDDDDDDD DDDDDDDdDD DDDDDDDDDD DdDDDDDDDD DDDDDdDDDD DDDDDDDDdD DDDdDDDDDD DDDDDDDDDD DDDDDDdDDD",
    "platform": "PPPPPPPPPP PpPPPPpPPP pppppppppp .p......p. .......... .......... .......... .......... .......... ..........",
    "spikes": ".......... .......... .......... .......... ..K....K.. ..W....W.. .KXK..KXK. .KXK..KXK. KXXXKKXXXK KXxXKKXxXK",
    "coin": ".......... .......... ...YYYY... ..YYyyYY.. ..YyYYyY.. ..YyYYyY.. ..YyYYyY.. ..YYyyYY.. ...YYYY... ..........",
    "pole": "..K....... ..K....... ..K....... ..K....... ..K....... ..K....... ..K....... ..K....... ..K....... .KKK......",
    "checkpoint": "..KCCCCCC. ..KCCCCC.. ..KCCCC... ..KCCCCC.. ..KCCCCCC. ..K....... ..K....... ..K....... ..K....... .KKK......",
    "flag": "..KRRRRRRR ..KRRWWRRR ..KRRWWRRR ..KRRRRRRR ..KRRRRRRR ..K....... ..K....... ..K....... ..K....... .KKK......",
    "stands": ".RRRR. RRRRRR .SSKS. .SSSS. BBBBBB BBBBBB .BBBB. .K..K.",
    "steps": ".RRRR. RRRRRR .SSKS. .SSSS. BBBBBB BBBBBB .BBBB. K....K",
    "dead": ".K..K. ..KK.. .K..K. .SSSS. BBBBBB BBBBBB .BBBB. .K..K.",
    "walker": ".......... .......... ...MMMM... ..MMMMMM.. .MWKMMWKM. .MMMMMMMM. ..mmmmmm.. ..mmmmmm.. ..KK..KK.. .KKK..KKK.",
    "hedgehog": ".......... .......... ..h.h.h... ..hHhHhH.. .hHhHhHhH. .HhHhHhHm. .hHhHhHmmm .HhHhHmKmK ..mmmmmmm. ..K.KK.K..",
    "bat": ".......... .......... .V......V. .VV.VV.VV. .VVVVVVVV. .VVYVVYVV. .V.VVVV.V. ...VWWV... ....VV.... ..........",
    "bat down": ".......... .......... ....VV.... ...VVVV... .VVYVVYVV. .VVVVVVVV. .VVVWWVVV. .VV.VV.VV. .V......V. ..........",
    "heart": ".RR.RR. RRRRRRR RRRRRRR .RRRRR. ..RRR.. ...R...",
}


def frame(view: View, body: Body, lives: int) -> NDArray[np.uint8]:
    """The window of a position as uint8 [FRAME], a fresh array; hearts are the lives left."""
    first = view.window(body).first
    picture = _scenery(view.course, first).copy()
    for cell, bit in view.course.coins.items():
        column = cell % view.course.width - first
        if 0 <= column < COLUMNS and not body.coins >> bit & 1:
            _draw(picture, "coin", column * TILE, cell // view.course.width * TILE)
    for kind, patrol in view.window(body).patrols:
        if not body.gone >> patrol.bit & 1:
            _draw_enemy(picture, kind, patrol, body.tick, first)
    art = "dead" if body.status > 1 else "steps" if body.x // 4 % 2 and body.vx else "stands"
    _draw(picture, art, body.x - first * TILE, body.y, mirrored=body.vx < 0)
    for heart in range(lives):
        _draw(picture, "heart", 3 + 9 * heart, (HEIGHT - 1) * TILE + 2)
    return picture


def _draw_enemy(picture: NDArray[np.uint8], kind: str, patrol: Patrol, tick: int, first: int) -> None:
    x, y, way = patrol.at(tick)
    art = "bat down" if kind == "bat" and tick // 4 % 2 else kind
    _draw(picture, art, x - first * TILE, y, mirrored=kind == "hedgehog" and way < 0)


def _draw(picture: NDArray[np.uint8], art: str, x: int, y: int, *, mirrored: bool = False) -> None:
    """With its left bottom corner at (x, y) units from that of the picture; what lies outside is cut off."""
    colours, seen = _sprite(art, mirrored)
    tall, wide = seen.shape
    left, top = x * SCALE, picture.shape[0] - y * SCALE - tall
    x0, x1, y0, y1 = max(left, 0), min(left + wide, picture.shape[1]), max(top, 0), min(top + tall, picture.shape[0])
    if x0 < x1 and y0 < y1:
        part = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        picture[y0:y1, x0:x1][seen[part]] = colours[part][seen[part]]


@lru_cache(maxsize=64)
def _sprite(art: str, mirrored: bool) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(uint8 [H, W, 3], bool [H, W]): colours, and where there is anything."""
    rows = [list(row[::-1] if mirrored else row) for row in _ART[art].split()]
    colours = np.array([[_INKS.get(ink, (0, 0, 0)) for ink in row] for row in rows], np.uint8)
    seen = np.array(rows) != "."
    return tuple(a.repeat(SCALE, 0).repeat(SCALE, 1) for a in (colours, seen))  # pyright: ignore[reportReturnType]


_ART["hanging spikes"] = " ".join(reversed(_ART["spikes"].split()))
_TILES = {"=": "platform", "^": "spikes", "C": "checkpoint", "F": "flag"}


@lru_cache(maxsize=256)
def _scenery(course: Course, first: int) -> NDArray[np.uint8]:
    """All that stands still, without coins: sky, hills, ground and what is on it."""
    picture = _sky(first).copy()
    after = min(first + COLUMNS, course.width)
    dark = np.linspace(1.0, 0.15, 2 * TILE * SCALE)[:, None, None]
    for column in range(first, after):
        if not course.ground[column]:
            left = (column - first) * TILE * SCALE
            pit = picture[-2 * TILE * SCALE :, left : left + TILE * SCALE]
            pit[:] = pit * dark
    for row in range(HEIGHT):
        for column in range(first, after):
            code, sign = course.grid[row * course.width + column], course.rows[HEIGHT - 1 - row][column]
            if code == SOLID:
                above = course.grid[(row + 1) * course.width + column] if row < HEIGHT - 1 else SOLID
                _draw(picture, "earth" if above == SOLID else "grass", (column - first) * TILE, row * TILE)
            elif sign in _TILES:
                art = "hanging spikes" if sign == "^" and hangs(course, row, column) else _TILES[sign]
                _draw(picture, art, (column - first) * TILE, row * TILE)
    picture.setflags(write=False)
    return picture


def _sky(first: int) -> NDArray[np.uint8]:
    """A sky that is paler below, with two rows of hills that go by more slowly than the ground."""
    tall, wide, _ = FRAME
    down = np.linspace(0.0, 1.0, tall)[:, None, None]
    picture = np.broadcast_to((1 - down) * np.array((118, 178, 236)) + down * np.array((214, 236, 250)), FRAME).astype(np.uint8)
    across, height = np.arange(wide), np.arange(tall)[::-1, None]
    for share, period, high, colour in ((0.3, 90.0, 84, (170, 210, 214)), (0.5, 60.0, 56, (142, 196, 176))):
        at = (across + share * first * TILE * SCALE) / period
        hills = high + 18 * np.sin(at) + 7 * np.sin(2.3 * at + 1.0)
        picture[height < hills] = colour
    return picture


assert AIR == 0
