"""How far every board of the 3 x 3 sliding puzzle is from 1 2 3 / 4 5 6 / 7 8 _: a breadth-first search, once, with numpy.

A board is nine numbers row by row, 0 the blank; it is numbered by its rank among the permutations of 0 to 8 in lexical order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from math import factorial

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEAR", "SOLVED", "Table", "rank", "table"]

SOLVED = (1, 2, 3, 4, 5, 6, 7, 8, 0)
NEAR = tuple(
    tuple(
        r * 3 + c
        for r, c in ((i // 3 - 1, i % 3), (i // 3 + 1, i % 3), (i // 3, i % 3 - 1), (i // 3, i % 3 + 1))
        if min(r, c) >= 0 and max(r, c) < 3
    )
    for i in range(9)
)
"""[9] the cells beside each cell."""
_WEIGHTS = [factorial(8 - i) for i in range(9)]


class Table:
    """All 181,440 boards that can be solved."""

    def __init__(self) -> None:
        self.distances: NDArray[np.int8] = np.full(factorial(9), -1, np.int8)
        """[rank] moves to SOLVED; -1 where no way leads there."""
        self.next: NDArray[np.int8] = np.zeros(factorial(9), np.int8)
        """[rank] the cell whose tile slides next on a shortest way."""
        self.layers: list[NDArray[np.uint8]] = []
        """[t] the boards t moves away, [N, 9]."""
        layer = np.array([SOLVED], np.uint8)
        self.distances[_ranks(layer)] = 0
        while len(layer):
            self.layers.append(layer)
            moves = list(_moved(layer))
            ahead = np.concatenate([after for after, _ in moves])
            back = np.concatenate([np.full(len(after), here, np.int8) for after, here in moves])
            ranks, first = np.unique(_ranks(ahead), return_index=True)
            new = self.distances[ranks] < 0
            self.distances[ranks[new]] = len(self.layers)
            self.next[ranks[new]] = back[first[new]]
            layer = ahead[first[new]]

    def boards(self, low: int, high: int) -> int:
        """How many boards are low to high moves away."""
        return sum(len(layer) for layer in self.layers[low : high + 1])

    def board(self, low: int, high: int, index: int) -> tuple[int, ...]:
        """The board of that index among those that are low to high moves away."""
        ends = list(accumulate(len(layer) for layer in self.layers[low : high + 1]))
        at = next(i for i, end in enumerate(ends) if index < end)
        return tuple(self.layers[low + at][index - ends[at]].tolist())


@lru_cache(maxsize=1)
def table() -> Table:
    """The table; the first call takes some tenths of a second."""
    return Table()


def rank(board: Sequence[int]) -> int:
    """The number of a board."""
    return sum(
        weight * sum(later < here for later in board[i + 1 :])
        for i, (here, weight) in enumerate(zip(board, _WEIGHTS, strict=True))
    )


def _ranks(boards: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[N] of [N, 9]."""
    columns = np.ascontiguousarray(boards.T)
    smaller = [(columns[i + 1 :] < columns[i]).sum(axis=0) for i in range(8)]
    return sum((w * s for w, s in zip(_WEIGHTS, smaller, strict=False)), np.zeros(len(boards), np.int64))


def _moved(boards: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """The boards after each slide into each place of the blank, and that place."""
    blank = boards.argmin(axis=1)
    for here, near in enumerate(NEAR):
        mine = boards[blank == here]
        for there in near:
            after = mine.copy()
            after[:, here], after[:, there] = mine[:, there], 0
            yield after, here
