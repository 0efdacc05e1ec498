"""Minesweeper by reasoning alone: which closed cells are surely safe. Cells are bits r * side + c of masks.

A number says how many mines a set of closed cells holds. Two rules, over and over: a set with as many mines as cells is all
mines, one with none is all safe; and what a set holds beyond a set inside it is in the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

__all__ = ["around", "opened", "safe_cells", "solvable"]

_MANY = 120
"""Sets in play at which it gives up: what is open says little then, and differences of differences grow without end."""


@lru_cache(maxsize=16)
def around(side: int) -> tuple[int, ...]:
    """[cell] the mask of the up to eight cells beside it."""
    cells = [(r, c) for r in range(side) for c in range(side)]
    return tuple(sum(1 << r * side + c for r, c in cells if max(abs(r - row), abs(c - column)) == 1) for row, column in cells)


def opened(side: int, numbers: Sequence[int], shown: int, cell: int) -> int:
    """The open cells after opening a safe one: with all around it where its number is 0, and so on."""
    edge = [cell]
    while edge:
        here = edge.pop()
        if shown >> here & 1:
            continue
        shown |= 1 << here
        if numbers[here] == 0:
            near = around(side)[here] & ~shown
            edge += [other for other in range(near.bit_length()) if near >> other & 1]
    return shown


def safe_cells(side: int, numbers: Sequence[int], shown: int, mines: int) -> int:
    """The closed cells that are surely safe, given the numbers of the open ones and how many mines there are in all."""
    closed = (1 << side * side) - 1 & ~shown
    near = around(side)
    known = {near[cell] & closed: numbers[cell] for cell in range(side * side) if shown >> cell & 1 and near[cell] & closed}
    known[closed] = mines
    safe = mined = 0
    while True:
        news = False
        for cells, count in known.items():
            if count == 0:
                news, safe = news or bool(cells & ~safe), safe | cells
            elif count == cells.bit_count():
                news, mined = news or bool(cells & ~mined), mined | cells
        known = {cells & ~safe & ~mined: count - (cells & mined).bit_count() for cells, count in known.items()}
        known.pop(0, None)
        if news:
            continue
        if safe:
            return safe
        more = _differences(known)
        if not more or len(known) > _MANY:
            return 0
        known.update(more)


def _differences(known: dict[int, int]) -> dict[int, int]:
    """What the sets hold beyond the sets inside them, where that is new."""
    sets = sorted(known, key=lambda cells: cells.bit_count())
    more: dict[int, int] = {}
    for i, small in enumerate(sets):
        for large in sets[i + 1 :]:
            if small & ~large == 0 and large ^ small not in known:
                more[large ^ small] = known[large] - known[small]
    return more


def solvable(side: int, numbers: Sequence[int], mines: int, first: int) -> bool:
    """Whether reasoning alone opens all safe cells after the first one, and there is something left to reason about."""
    shown, safe_in_all = opened(side, numbers, 0, first), side * side - mines
    if shown.bit_count() == safe_in_all:
        return False
    while shown.bit_count() < safe_in_all:
        safe = safe_cells(side, numbers, shown, mines)
        if not safe:
            return False
        for cell in range(safe.bit_length()):
            if safe >> cell & 1:
                shown = opened(side, numbers, shown, cell)
    return True
