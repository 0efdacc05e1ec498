"""turnwise/SlidingTiles-v0: slide eight tiles on a 3 x 3 board into the wanted order.

The goal is another order of the tiles in each task, the blank in the last cell, so that there are enough tasks of few moves. A
move is named by its tile: that leaves no doubt whether "left" means the tile or the blank.

Levels are measured by the moves of a shortest solution, which are known for every board (breadth-first search over all 181,440):

    level  moves
      1    6 to 9
      2    10 to 13
      3    14 to 17
      4    18 to 21
      5    22 to 25
      6    26 to 31
"""

from __future__ import annotations

import re

import numpy as np
from typing_extensions import override

from turnwise.envs.core import Transition
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, answer_in, task_id
from turnwise.envs.puzzles.sliding_tiles_table import NEAR, rank, table
from turnwise.types import Task

__all__ = ["LENGTHS", "SlidingTiles"]

LENGTHS = {1: (6, 9), 2: (10, 13), 3: (14, 17), 4: (18, 21), 5: (22, 25), 6: (26, 31)}
"""Level -> least and most moves of a shortest solution."""
MAX_MOVES = 100
"""Moves one reply may hold."""

_TILES = {str(tile): tile for tile in range(1, 9)}
_BETWEEN = re.compile(r"[\s,]+")
_HOW = "Write the numbers of the tiles to slide, separated by spaces."
_PAPER: Colour = (226, 200, 150)
_BLANK: Colour = (90, 80, 70)
_INK: Colour = (70, 45, 20)


class SlidingTiles(Puzzle):
    """Bring the tiles into the order of the goal; reward 1 when they are, else 0. One reply slides one or several tiles."""

    levels = range(1, len(LENGTHS) + 1)

    _goal: tuple[int, ...] = ()
    _tiles: tuple[int, ...] = ()

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        low, high = LENGTHS[difficulty]
        boards = table()
        names = (*(rng.permutation(8) + 1).tolist(), 0)  # what stands where the table has SOLVED
        start = boards.board(low, high, int(rng.integers(boards.boards(low, high))))
        return _task(tuple(names[tile - 1] for tile in start), names, difficulty)

    @override
    def turns(self, task: Task) -> int:
        """One and a half times a shortest solution, and 6."""
        length = int(task.metadata["length"])
        return length + length // 2 + 6

    @override
    def rules(self) -> str:
        return (
            "Sliding tiles: bring the board into the order of the goal.\n"
            "_ is the blank. A tile beside it (above, below, left or right) can slide into it.\n"
            "Reply with the tile to slide, or several in order, for example <answer>5 8</answer>."
        )

    @override
    def place(self, task: Task) -> None:
        start, goal = tuple(task.metadata["start"]), tuple(task.metadata["goal"])
        if not set(start) == set(goal) == set(range(9)) or not len(start) == len(goal) == 9 or goal[8] != 0:
            raise ValueError("start and goal hold 0 to 8, the goal with 0 at its end")
        if table().distances[_ranked(start, goal)] < 1:
            raise ValueError("no way leads from start to goal, or nothing is to be done")
        self._tiles, self._goal = start, goal

    @override
    def opening(self) -> str:
        return f"Goal:\n{_shown(self._goal)}\nBoard:\n{self.board()}"

    @override
    def board(self) -> str:
        return _shown(self._tiles)

    @override
    def cells(self) -> list[list[Cell]]:
        flat: list[Cell] = [(str(tile), _PAPER, _INK) if tile else ("", _BLANK, _BLANK) for tile in self._tiles]
        return [flat[:3], flat[3:6], flat[6:]]

    @override
    def play(self, action: str) -> Transition:
        answer = answer_in(action)
        words = [word for word in _BETWEEN.split(answer) if word] if answer else []
        wrong = next((word for word in words if word not in _TILES), None)
        if wrong is not None:
            return self.refuse(f"{wrong[:20]!r} is not a tile. {_HOW}")
        if not words or len(words) > MAX_MOVES:
            return self.refuse(f"A reply holds 1 to {MAX_MOVES} tiles. {_HOW}")
        tiles, stuck = list(self._tiles), 0
        blank = tiles.index(0)
        for word in words:
            tile = _TILES[word]
            at = tiles.index(tile)
            if at not in NEAR[blank]:
                stuck += 1
                continue
            tiles[blank], tiles[at], blank = tile, 0, at
            if at == 8 and tuple(tiles) == self._goal:
                break  # what follows in the reply is ignored
        self._tiles = tuple(tiles)
        if self._tiles == self._goal:
            return self.moved("Solved.", solved=True)
        many = f": {stuck} of {len(words)} tiles" if len(words) > 1 else ""
        return self.moved(f"Not beside the blank{many}." if stuck else "")

    @override
    def expert_action(self) -> str:
        """The next tile of a shortest solution from here."""
        self.need_episode()
        return f"<answer>{_best(self._tiles, self._goal)}</answer>"


def _shown(tiles: tuple[int, ...]) -> str:
    a, b, c, d, e, f, g, h, i = ("_" if tile == 0 else str(tile) for tile in tiles)
    return f"{a} {b} {c}\n{d} {e} {f}\n{g} {h} {i}"


def _ranked(tiles: tuple[int, ...], goal: tuple[int, ...]) -> int:
    """The number that the table has for a board with that goal."""
    place = {tile: index + 1 for index, tile in enumerate(goal[:8])}
    return rank([place.get(tile, 0) for tile in tiles])


def _best(tiles: tuple[int, ...], goal: tuple[int, ...]) -> int:
    """The next tile of a shortest solution."""
    return tiles[table().next[_ranked(tiles, goal)]]


def _slid(tiles: tuple[int, ...], tile: int) -> tuple[int, ...]:
    """The board after that tile slid into the blank."""
    after = list(tiles)
    after[tiles.index(0)], after[tiles.index(tile)] = tile, 0
    return tuple(after)


def _task(start: tuple[int, ...], goal: tuple[int, ...], difficulty: int) -> Task:
    """`answer`: the tiles of a shortest solution."""
    tiles, answer = start, list[str]()
    while tiles != goal:
        tile = _best(tiles, goal)
        answer.append(str(tile))
        tiles = _slid(tiles, tile)
    prompt = f"Slide the tiles from\n{_shown(start)}\nto\n{_shown(goal)}"
    metadata = {"start": list(start), "goal": list(goal), "length": len(answer)}
    return Task(task_id("sliding_tiles", prompt), prompt, " ".join(answer), difficulty, metadata)
