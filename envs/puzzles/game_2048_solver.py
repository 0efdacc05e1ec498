"""A way to the target tile for somebody who knows which tiles will come: a beam search.

A move that changes the board draws one number, so after as many moves the same number is drawn on every way. Of the boards after
each move those are kept that people would keep: few tiles, and rows that rise to one side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

from turnwise.envs.puzzles.game_2048_rules import DIRECTIONS, Board, Row, slid, with_new_tile

__all__ = ["way_to"]

_WIDTHS = (8, 32, 128)
"""Boards kept after each move; the next where the search fails."""


def way_to(target: int, board: Board, luck: Callable[[int], float]) -> list[str]:
    """Directions that lead from the board to a tile `target` when `luck(i)` is drawn after the i-th of them; the longest way
    that was found where none gets there."""
    longest = list[str]()
    for width in _WIDTHS:
        way, there = _search(target, board, luck, width)
        if there:
            return way
        longest = max(longest, way, key=len)
    return longest


def _search(target: int, board: Board, luck: Callable[[int], float], width: int) -> tuple[list[str], bool]:
    """(a way, whether it leads to the target)."""
    beam = [board]
    steps = list[dict[Board, tuple[Board, str]]]()
    """[move] board after it -> (board before it, direction)."""
    while beam:
        drawn, after = luck(len(steps)), dict[Board, tuple[Board, str]]()
        for before in beam:
            for direction in DIRECTIONS:
                pushed = slid(before, direction)
                if pushed != before:
                    after.setdefault(with_new_tile(pushed, drawn), (before, direction))
        done = next((found for found in after if any(target in row for row in found)), None)
        if done is not None:
            return _traced([*steps, after], done), True
        if after:
            steps.append(after)
        beam = sorted(after, key=_worth, reverse=True)[:width]
    return (_traced(steps, next(iter(steps[-1]))) if steps else []), False


def _traced(steps: list[dict[Board, tuple[Board, str]]], board: Board) -> list[str]:
    way = list[str]()
    for step in reversed(steps):
        board, direction = step[board]
        way.append(direction)
    return way[::-1]


def _worth(board: Board) -> float:
    return sum([_worth_of_line(line) for line in board]) + sum([_worth_of_line(line) for line in zip(*board, strict=True)])


@lru_cache(maxsize=1 << 16)
def _worth_of_line(line: Row) -> float:
    """Little for many tiles, for small ones more than for the one they make, and for ups and downs between large ones."""
    ranks = [tile.bit_length() - 1 if tile else 0 for tile in line]
    pairs = list(pairwise(ranks))
    rises = sum(b**4 - a**4 for a, b in pairs if b > a)
    falls = sum(a**4 - b**4 for a, b in pairs if a > b)
    return -100.0 * sum(rank * rank for rank in ranks) - min(rises, falls)
