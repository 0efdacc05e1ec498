"""The rules of 2048: sliding, merging, and where a new tile comes."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

__all__ = ["DIRECTIONS", "Board", "Row", "slid", "slid_row", "stuck", "with_new_tile"]

Row = tuple[int, ...]
Board = tuple[Row, ...]
"""Rows of tiles, 0 where there is none."""
DIRECTIONS = ("up", "down", "left", "right")


@lru_cache(maxsize=1 << 16)
def slid_row(row: Row) -> Row:
    """A row pushed to the left: equal neighbours merge, those farthest to the left first, and a tile merges once."""
    merged, open_end = list[int](), False
    for tile in row:
        if tile and open_end and merged[-1] == tile:
            merged[-1], open_end = 2 * tile, False
        elif tile:
            merged.append(tile)
            open_end = True
    return (*merged, *[0] * (len(row) - len(merged)))


def slid(board: Board, direction: str) -> Board:
    """The board after a push, before the new tile; the same board if nothing can move that way."""
    if direction == "left":
        return tuple([slid_row(row) for row in board])
    if direction == "right":
        return tuple([slid_row(row[::-1])[::-1] for row in board])
    columns = zip(*board, strict=True)
    pushed = [slid_row(column) if direction == "up" else slid_row(column[::-1])[::-1] for column in columns]
    return tuple(zip(*pushed, strict=True))


def stuck(board: Board) -> bool:
    """Whether no push moves anything: no cell is empty and no neighbours are equal."""
    if any(0 in row for row in board):
        return False
    lines = [*board, *zip(*board, strict=True)]
    return not any(a == b for line in lines for a, b in pairwise(line))


def with_new_tile(board: Board, luck: float) -> Board:
    """The board with a new tile: a 2 in nine of ten cases, else a 4, in any empty cell. `luck` in [0, 1) says which."""
    side = len(board[0])
    cells = [tile for row in board for tile in row]
    empty = [i for i, tile in enumerate(cells) if not tile]
    number = int(luck * 10 * len(empty))
    row, column = divmod(empty[number // 10], side)
    old = board[row]
    new = (*old[:column], 4 if number % 10 == 9 else 2, *old[column + 1 :])
    return (*board[:row], new, *board[row + 1 :])
