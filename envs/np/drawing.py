"""Pictures of maps, graphs and schedules, drawn with numpy and the tiles of the puzzles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from turnwise.envs.puzzles.grid_picture import TILE, Cell, Colour, picture

__all__ = ["COLOURS", "NODE", "Line", "bars", "circle", "network"]

SIZE = 512
"""Pixels a side of a map or graph."""
NODE: Colour = (60, 100, 170)
COLOURS: tuple[Colour, ...] = (
    *((190, 60, 60), (50, 120, 190), (60, 140, 80), (200, 140, 40), (130, 80, 160), (90, 90, 90)),
    *((40, 150, 150), (190, 90, 140), (120, 110, 40), (90, 60, 40)),
)
_PAPER: Colour = (244, 240, 230)
_EDGE: Colour = (176, 172, 160)
_PATH: Colour = (200, 90, 40)
_INK: Colour = (250, 250, 250)
_UNIT, _BAR, _GAP = 10, 32, 6

Line = tuple[int, int]
"""From a point to a point, from 0."""


def circle(count: int) -> list[tuple[float, float]]:
    """Points on a circle, clockwise from the top."""
    angles = 2 * np.pi * np.arange(count) / max(count, 1)
    return [(float(x), float(y)) for x, y in zip(0.5 + np.sin(angles) / 2, 0.5 - np.cos(angles) / 2, strict=True)]


def network(
    points: Sequence[tuple[float, float]], edges: Sequence[Line], path: Sequence[Line], colours: Sequence[Colour] | None = None
) -> NDArray[np.uint8]:
    """Numbered points, thin lines between some and thick ones between others, uint8 [SIZE, SIZE, 3]. `points` are in [0, 1]."""
    canvas = np.empty((SIZE, SIZE, 3), np.uint8)
    canvas[:] = _PAPER
    places = [(TILE + round(x * (SIZE - 2 * TILE)), TILE + round(y * (SIZE - 2 * TILE))) for x, y in points]
    for lines, width, colour in ((edges, 1, _EDGE), (path, 3, _PATH)):
        for a, b in lines:
            _line(canvas, places[a], places[b], width, colour)
    for i, (x, y) in enumerate(places):
        cell: Cell = (str(i + 1), colours[i] if colours else NODE, _INK)
        half = TILE // 2
        canvas[y - half : y + half, x - half : x + half] = picture([[cell]])
    return canvas


def _line(canvas: NDArray[np.uint8], start: tuple[int, int], end: tuple[int, int], width: int, colour: Colour) -> None:
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    along = np.arange(steps + 1) / steps
    xs, ys = (np.rint(start[i] + along * (end[i] - start[i])).astype(int) for i in (0, 1))
    for dx in range(width):
        for dy in range(width):
            canvas[ys + dy - width // 2, xs + dx - width // 2] = colour


def bars(rows: Sequence[Sequence[tuple[int, int, int]]], length: int) -> NDArray[np.uint8]:
    """A row of bars (label, start, length) for each bin or machine, `length` units wide, as uint8 [H, W, 3]."""
    canvas = np.empty((_GAP + len(rows) * (_BAR + _GAP), length * _UNIT + 2 * _GAP, 3), np.uint8)
    canvas[:] = _EDGE
    for i, row in enumerate(rows):
        lane = canvas[_GAP + i * (_BAR + _GAP) :][:_BAR, _GAP:-_GAP]
        lane[:] = _PAPER
        for label, start, size in row:
            colour = COLOURS[(label - 1) % len(COLOURS)]
            bar = lane[:, start * _UNIT + 1 : (start + size) * _UNIT - 1]
            bar[:] = colour
            if bar.shape[1] >= TILE:
                left = (bar.shape[1] - TILE) // 2
                bar[1:-1, left + 1 : left + TILE - 1] = picture([[(str(label), colour, _INK)]])[1:-1, 1:-1]
    return canvas
