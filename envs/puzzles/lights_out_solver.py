"""Which buttons put all lights out: linear equations over GF(2), rows as bit masks.

Pressing button b toggles the lights `plus(side)[b]`. Pressing twice is pressing not at all, and order does not matter, so a
solution is a set of buttons x with A x = lights.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["fewest_presses", "plus"]


@lru_cache(maxsize=16)
def plus(side: int) -> tuple[int, ...]:
    """[button] the lights it toggles, as a mask: itself and its neighbours above, below, left and right."""
    cells = [(r, c) for r in range(side) for c in range(side)]
    return tuple(sum(1 << r * side + c for r, c in cells if abs(r - row) + abs(c - column) <= 1) for row, column in cells)


@lru_cache(maxsize=16)
def _reduced(side: int) -> tuple[tuple[tuple[int, int, int], ...], tuple[int, ...]]:
    """Gauss-Jordan: ((pivot bit, lights, buttons that make them), ...) and the sets of buttons that change nothing."""
    pivots, quiet = list[tuple[int, int, int]](), list[int]()
    for button, lights in enumerate(plus(side)):
        buttons = 1 << button
        for bit, row, makes in pivots:
            if lights & bit:
                lights, buttons = lights ^ row, buttons ^ makes
        if not lights:
            quiet.append(buttons)
            continue
        bit = lights & -lights
        pivots = [(b, r ^ lights, m ^ buttons) if r & bit else (b, r, m) for b, r, m in pivots]
        pivots.append((bit, lights, buttons))
    return tuple(pivots), tuple(quiet)


def fewest_presses(side: int, lights: int) -> int | None:
    """The smallest set of buttons that puts these lights out, as a mask; None if no set does."""
    pivots, quiet = _reduced(side)
    buttons = 0
    for bit, row, makes in pivots:
        if lights & bit:
            lights, buttons = lights ^ row, buttons ^ makes
    if lights:
        return None
    ways = [buttons]
    for nothing in quiet:
        ways += [way ^ nothing for way in ways]
    return min(ways, key=lambda way: (way.bit_count(), way))
