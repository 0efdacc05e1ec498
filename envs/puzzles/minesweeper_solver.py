"""Minesweeper by reasoning alone: which closed cells are surely safe. Cells are bits r * side + c of masks.

A number says how many mines a set of closed cells holds. Two rules, over and over: a set with as many mines as cells is all
mines, one with none is all safe; and what a set holds beyond a set inside it is in the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

__all__ = ["around", "blank_cells", "opened", "safe_cells", "solvable"]

_MANY = 120
"""Sets in play at which it gives up: what is open says little then, and differences of differences grow without end."""


@lru_cache(maxsize=16)
def around(side: int) -> tuple[int, ...]:
    """[cell] the mask of the up to eight cells beside it."""
    cells = [(r, c) for r in range(side) for c in range(side)]
    return tuple(sum(1 << r * side + c for r, c in cells if max(abs(r - row), abs(c - column)) == 1) for row, column in cells)


def blank_cells(numbers: Sequence[int]) -> int:
    """The cells whose number is 0."""
    return sum([1 << cell for cell, number in enumerate(numbers) if number == 0])


def opened(side: int, blank: int, shown: int, cells: int) -> int:
    """The open cells after opening safe ones: with all around those that are blank, and so on."""
    near, shown, edge = around(side), shown | cells, cells & blank & ~shown
    while edge:
        cell = edge.bit_length() - 1
        fresh = near[cell] & ~shown
        shown |= fresh
        edge = edge ^ 1 << cell | fresh & blank
    return shown


def safe_cells(side: int, numbers: Sequence[int], shown: int, mines: int) -> int:
    """The closed cells that are surely safe, given the numbers of the open ones and how many mines there are in all."""
    closed = (1 << side * side) - 1 & ~shown
    near = around(side)
    known = {rest: numbers[cell] for cell in range(side * side) if shown >> cell & 1 and (rest := near[cell] & closed)}
    known[closed] = mines
    news, safe, mined, settled = known, 0, 0, 0
    while True:
        for cells, count in news.items():
            if count == 0:
                safe |= cells
            elif count == cells.bit_count():
                mined |= cells
        if settled != safe | mined:
            settled = safe | mined
            known = {cells & ~settled: count - (cells & mined).bit_count() for cells, count in known.items()}
            known.pop(0, None)
            news = known
            continue
        if safe or len(known) > _MANY:
            return safe
        news = _differences(known)
        if not news:
            return 0
        known |= news


def _differences(known: dict[int, int]) -> dict[int, int]:
    """What the sets hold beyond the sets inside them, where that is new."""
    holding = {low: [cells for cells in known if cells & low] for low in {cells & -cells for cells in known}}
    more: dict[int, int] = {}
    for small, count in known.items():
        for large in holding[small & -small]:
            if small & large == small != large and large ^ small not in known:
                more[large ^ small] = known[large] - count
    return more


def solvable(side: int, numbers: Sequence[int], mines: int, first: int) -> bool:
    """Whether reasoning alone opens all safe cells after the first one, and there is something left to reason about."""
    blank, safe_in_all = blank_cells(numbers), side * side - mines
    shown = opened(side, blank, 0, 1 << first)
    if shown.bit_count() == safe_in_all:
        return False
    while shown.bit_count() < safe_in_all:
        safe = safe_cells(side, numbers, shown, mines)
        if not safe:
            return False
        shown = opened(side, blank, shown, safe)
    return True
