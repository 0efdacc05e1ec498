"""Random Sokoban levels by reverse play, aimed at a length and a split.

A room of connected floor is grown cell by cell, goals are put on random floor cells, and the whole layout is played backwards
(`PullTable`). Any position the table holds is a level whose shortest solution is known, so a level costs one table, not one
search for each try.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from heapq import heappop, heappush

import numpy as np

from turnwise.envs.core import Split, split_of
from turnwise.envs.puzzles.sokoban_rules import Board, level_id, rows_of
from turnwise.envs.puzzles.sokoban_solver import PullTable, pull_table
from turnwise.errors import ConfigError

__all__ = ["LENGTHS", "difficulty_of", "random_level"]

LENGTHS = {1: (5, 7), 2: (8, 10), 3: (11, 13), 4: (14, 17), 5: (18, 10**9)}
"""Difficulty -> the shortest and longest optimal solution, in moves. Fewer than five moves a fixed walk finds too often."""

_LONG = 14
"""Solutions of so many moves and more need room."""
_LAYOUTS = 2**32
"""A layout is a pure function of its number. So many that two seeds hardly ever meet."""
_LAYOUT_TRIES = 4_000
_PLENTY = 16
"""Positions of the wanted length that make a layout sure to be used; with fewer it is passed over in proportion, or its few
positions would come again and again."""
_POSITION_TRIES = 8
"""Positions of one layout looked at before the next layout: a quarter of all ids is of the test split."""


def difficulty_of(length: int) -> int:
    """The difficulty of a level whose shortest solution has that many moves; shorter ones than LENGTHS has are of the first."""
    return next(level for level, (_, high) in LENGTHS.items() if length <= high)


def random_level(
    rng: np.random.Generator, size: int, boxes: int, lengths: tuple[int, int], split: Split | None
) -> tuple[str, tuple[str, ...], str, int]:
    """A level whose shortest solution has lengths[0] to lengths[1] moves, of that split (None: either).

    Comes as (id, rows, shortest solution as LURD, its length). Raises ConfigError if no layout offers one, as with one box on
    a small board at the highest difficulty.
    """
    low, high = lengths
    for _ in range(_LAYOUT_TRIES):
        floor, goals = _layout(size, boxes, int(rng.integers(_LAYOUTS)), roomy=low >= _LONG)
        table = pull_table(size, floor, goals)
        for board, length in _positions(rng, table, Board(size, size, floor, goals, 0, 0), low, high):
            rows = rows_of(board)
            name = level_id(rows)
            if split is None or split_of(name) == split:
                return name, rows, table.solution(board.boxes, board.man, length), length
    raise ConfigError(
        f"Sokoban: no {split or ''} level of {low} moves or more among {_LAYOUT_TRIES} layouts of size "
        f"{size} with boxes={boxes}. Ask for a lower difficulty, other lengths, a larger size or more boxes."
    )


def _positions(rng: np.random.Generator, table: PullTable, layout: Board, low: int, high: int) -> Iterator[tuple[Board, int]]:
    """Random positions that need low to high moves, each equally likely; none if the layout has none."""
    span = range(low, min(high + 1, len(table.layers)))
    counts = [table.count(t) for t in span]
    total = sum(counts)
    use, *draws = rng.random(1 + _POSITION_TRIES).tolist()
    if use * _PLENTY >= total:
        return
    for u in draws:
        index = int(u * total)
        for t, count in zip(span, counts, strict=True):
            if index < count:
                boxes, man = table.pick(t, index)
                yield Board(layout.width, layout.height, layout.floor, layout.goals, boxes, man), t
                break
            index -= count


@lru_cache(maxsize=4096)
def _layout(size: int, boxes: int, number: int, roomy: bool) -> tuple[int, int]:
    """Layout `number` as masks: (floor, goals).

    The room has 3 cells a box and some to move in; `roomy` ones are at the upper end, where the long solutions are.
    """
    most = min((size - 2) ** 2 - 2, 3 * boxes + 8 + (size - 2) ** 2 // 8)
    least = max(boxes + 3, most - (1 if roomy else 3))
    draws = np.random.Generator(np.random.PCG64((size, boxes, int(roomy), number))).random(4 * size * size)
    numbers = iter(draws.tolist())
    area = least + int(next(numbers) * (most - least + 1))
    cells = _grown_room(size, area, numbers)
    goals = 0
    for _ in range(boxes):
        goals |= 1 << cells.pop(int(next(numbers) * len(cells)))
    floor = sum(1 << cell for cell in cells) | goals
    return floor, goals


def _grown_room(size: int, area: int, numbers: Iterator[float]) -> list[int]:
    """`area` connected cells inside the border.

    Every cell gets a random weight and the lightest neighbour of the room is added until there are enough (invasion percolation):
    on a small board this comes close to "all shapes equally likely", on a large one it winds.
    """
    weights = {r * size + c: next(numbers) for r in range(1, size - 1) for c in range(1, size - 1)}
    first = min(weights, key=weights.__getitem__)
    edge, room = [(weights.pop(first), first)], list[int]()
    while len(room) < area:
        cell = heappop(edge)[1]
        room.append(cell)
        for near in (cell - size, cell + size, cell - 1, cell + 1):
            if near in weights:
                heappush(edge, (weights.pop(near), near))
    return room
