"""Boards as pictures: coloured squares with a few letters or digits on them, drawn with numpy and a font of 3 x 5 dots."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["TILE", "Cell", "Colour", "picture"]

TILE = 32
"""Pixels a side."""

Colour = tuple[int, int, int]
Cell = tuple[str, Colour, Colour]
"""(text, paper, ink). Text is written in capitals; what the font lacks stays blank."""

_GLYPHS = (
    "0:75557 1:26227 2:71747 3:71717 4:55711 5:74717 6:74757 7:71122 8:75757 9:75717 A:25755 B:65656 C:34443 D:65556 E:74747 "
    "F:74744 G:34553 H:55755 I:72227 J:11152 K:55655 L:44447 M:57755 N:65555 O:25552 P:65644 Q:25563 R:65655 S:34216 T:72222 "
    "U:55557 V:55552 W:55775 X:55255 Y:55222 Z:71247 +:02720 -:00700 *:52725 /:11244 =:07070 ?:71202 .:00002 @:75747"
)
"""A character is five rows of three dots, a row one octal digit."""
_FONT = {glyph[0]: glyph[2:] for glyph in _GLYPHS.split()}


def picture(cells: Sequence[Sequence[Cell]]) -> NDArray[np.uint8]:
    """The board as uint8 [rows * TILE, columns * TILE, 3], a fresh array. All rows have the same number of cells."""
    return np.concatenate([np.concatenate([_tile(*cell) for cell in row], axis=1) for row in cells], axis=0)


@lru_cache(maxsize=1024)
def _tile(text: str, paper: Colour, ink: Colour) -> NDArray[np.uint8]:
    tile = np.empty((TILE, TILE, 3), np.uint8)
    tile[:] = paper
    tile[0], tile[:, 0] = tuple(c * 7 // 8 for c in paper), tuple(c * 7 // 8 for c in paper)
    scale = min(4, (TILE - 8) // (4 * len(text) - 1)) if text else 0
    if scale:
        dots = np.concatenate([_dots(character) for character in text.upper()], axis=1)[:, :-1].repeat(scale, 0).repeat(scale, 1)
        top, left = (TILE - dots.shape[0]) // 2, (TILE - dots.shape[1]) // 2
        tile[top : top + dots.shape[0], left : left + dots.shape[1]][dots] = ink
    tile.setflags(write=False)
    return tile


def _dots(character: str) -> NDArray[np.bool_]:
    """[5, 4], the last column empty."""
    rows = _FONT.get(character, "00000")
    return np.array([[int(row) >> bit & 1 for bit in (2, 1, 0)] + [0] for row in rows], dtype=bool)
