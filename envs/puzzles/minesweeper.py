"""turnwise/Minesweeper-v0: open every cell that holds no mine. No board needs a guess.

The first cell is open already. A number says how many of the up to eight cells around it hold mines; where it is 0, those around
it open by themselves. Opening a mine ends the game with nothing. Every board can be opened by reasoning alone: it is made only if
the solver, which never guesses, opens it all (a search: some 1,800 resets a CPU second at level 5, 5,400 at level 1).

    level  board    mines
      1    6 x 6      6
      2    7 x 7      9
      3    8 x 8     12
      4    9 x 9     14
      5    10 x 10   17

The expert opens, each turn, all cells that are surely safe.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from typing_extensions import override

from turnwise.envs.core import Split, Transition, split_of
from turnwise.envs.draws import Draws
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.minesweeper_solver import around, blank_cells, opened, safe_cells, solvable
from turnwise.envs.puzzles.puzzle import Puzzle, answer_in, task_id
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["LEVELS", "Minesweeper"]

LEVELS: dict[int, tuple[int, int]] = {1: (6, 6), 2: (7, 9), 3: (8, 12), 4: (9, 14), 5: (10, 17)}
"""Level -> (side of the board, mines)."""
MAX_CELLS = 100
"""Cells one reply may open."""

_TRIES = 100_000
_COLUMNS = "ABCDEFGHIJ"
_BETWEEN = str.maketrans(",;", "  ")
_AS_SIGNS, _AS_BITS = str.maketrans("01", "_*"), str.maketrans("_*", "01")
_HOW = "Write cells as column and row, such as B3, separated by spaces."
_CLOSED: Colour = (150, 160, 176)
_OPEN: Colour = (236, 230, 216)
_MINE: Colour = (190, 50, 50)
_INK: Colour = (40, 70, 140)


class Minesweeper(Puzzle):
    """Open all cells without a mine; reward 1 when they are, else 0. One reply opens one or several cells."""

    levels = range(1, len(LEVELS) + 1)

    _side: int = 0
    _mines: int = 0
    """As a mask, as is what is open or has the number 0."""
    _shown: int = 0
    _blank: int = 0
    _numbers: tuple[int, ...] = ()
    _below: bytes = b""
    """What each cell shows once it is open, a byte for each."""
    _text: bytearray = bytearray()
    """The board as the agent reads it; a cell is written when it opens."""

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return _random_board(rng, None, difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        return _random_board(rng, split, difficulty)

    @override
    def turns(self, task: Task) -> int:
        """As many turns as there are safe cells."""
        return sum(row.count("_") for row in task.metadata["mines"])

    @override
    def rules(self) -> str:
        return (
            f"Minesweeper: open every cell without a mine; {self._mines.bit_count()} cells hold one.\n"
            "? is a closed cell; a number says how many of the cells around it, diagonals too, hold mines. Opening a mine ends "
            "the game. No guess is needed.\n"
            "Reply with one or several cells to open, as column and row, for example <answer>B3 C1</answer>."
        )

    @override
    def place(self, task: Task) -> None:
        rows, first = list(task.metadata["mines"]), int(task.metadata["first"])
        side, text = len(rows), "".join(rows)
        if not 2 <= side <= 10 or len(text) != side**2 or not set(text) == {"*", "_"} or text[first] == "*" or first < 0:
            raise ValueError("mines are rows of _ and *, as many as they are long, and the first cell holds none")
        self._side = side
        self._mines = int(text[::-1].translate(_AS_BITS), 2)
        self._numbers = _numbers(side, self._mines)
        self._blank = blank_cells(self._numbers)
        self._below = "".join(["*" if sign == "*" else str(n) for sign, n in zip(text, self._numbers, strict=True)]).encode()
        self._shown, self._text = 0, bytearray(_closed_board(side))
        self._show(opened(side, self._blank, 0, 1 << first))
        if self._shown.bit_count() + self._mines.bit_count() == side * side:
            raise ValueError("the first cell opens all")

    def _show(self, shown: int) -> None:
        """These cells are open."""
        places, fresh = _places(self._side), shown & ~self._shown
        while fresh:
            cell = fresh.bit_length() - 1
            self._text[places[cell]] = self._below[cell]
            fresh ^= 1 << cell
        self._shown = shown

    @override
    def board(self) -> str:
        return self._text.decode()

    @override
    def cells(self) -> list[list[Cell]]:
        paper = {"?": _CLOSED, "*": _MINE}
        signs = [chr(self._text[place]) for place in _places(self._side)]
        flat: list[Cell] = [("" if sign in "?0" else sign, paper.get(sign, _OPEN), _INK) for sign in signs]
        return [flat[start : start + self._side] for start in range(0, len(flat), self._side)]

    @override
    def play(self, action: str) -> Transition:
        answer, side = answer_in(action), self._side
        words = answer.upper().translate(_BETWEEN).split() if answer else []
        if not words or len(words) > MAX_CELLS:
            return self.refuse(f"A reply opens 1 to {MAX_CELLS} cells. {_HOW}")
        known = _cells(side)
        for word in words:
            if word not in known:
                return self.refuse(f"{word[:20]!r} is not a cell from A1 to {_COLUMNS[side - 1]}{side}. {_HOW}")
        before, safe = self._shown, 0
        for word in words:
            bit = 1 << known[word]
            if bit & self._mines:
                self._show(opened(side, self._blank, before, safe) | bit)
                return self.moved(f"{word} was a mine.", lost=True)
            safe |= bit
        self._show(opened(side, self._blank, before, safe))
        if self._shown.bit_count() + self._mines.bit_count() == side * side:
            return self.moved("All safe cells are open.", solved=True)
        return self.moved("Open already." if self._shown == before else "")

    @override
    def expert_action(self) -> str:
        """All cells that are surely safe; on a board that was not made here and needs a guess, a cell without a mine."""
        self.need_episode()
        side, closed = self._side, (1 << self._side**2) - 1 & ~self._shown & ~self._mines
        safe = safe_cells(side, self._numbers, self._shown, self._mines.bit_count()) or closed & -closed
        names = [name for name, cell in _cells(side).items() if safe >> cell & 1]
        return f"<answer>{' '.join(names)}</answer>"


@lru_cache(maxsize=16)
def _cells(side: int) -> dict[str, int]:
    """Name -> cell, in the order of the cells."""
    return {f"{_COLUMNS[cell % side]}{cell // side + 1}": cell for cell in range(side * side)}


@lru_cache(maxsize=16)
def _closed_board(side: int) -> bytes:
    rows = [f"   {' '.join(_COLUMNS[:side])}", *[f"{r + 1:>2} {' '.join('?' * side)}" for r in range(side)]]
    return "\n".join(rows).encode()


@lru_cache(maxsize=16)
def _places(side: int) -> tuple[int, ...]:
    """[cell] where it stands on the board."""
    return tuple([place for place, sign in enumerate(_closed_board(side)) if sign == ord("?")])


def _numbers(side: int, mines: int) -> tuple[int, ...]:
    return tuple([(near & mines).bit_count() for near in around(side)])


def _random_board(rng: np.random.Generator, split: Split | None, difficulty: int) -> Task:
    side, count = LEVELS[difficulty]
    draws = Draws(rng)
    for _ in range(_TRIES):
        first = draws.below(side * side)
        free = around(side)[first] | 1 << first  # so that the first cell opens more than itself
        mines = 0
        while mines.bit_count() < count:
            mines |= 1 << draws.below(side * side) & ~free
        text = f"{mines:0{side * side}b}"[::-1].translate(_AS_SIGNS)
        name = task_id("minesweeper", f"{text} {first}")
        if (split is None or split_of(name) == split) and solvable(side, _numbers(side, mines), count, first):
            return _task(name, text, side, first, difficulty)
    raise ConfigError(f"Minesweeper: no {split or ''} board of level {difficulty} in {_TRIES} tries.")


def _task(name: str, text: str, side: int, first: int, difficulty: int) -> Task:
    """`answer`: where the mines are."""
    mined = [name for name, sign in zip(_cells(side), text, strict=True) if sign == "*"]
    rows = [text[start : start + side] for start in range(0, side * side, side)]
    opening = f"{_COLUMNS[first % side]}{first // side + 1}"
    prompt = f"Minesweeper of {side} x {side} cells with {len(mined)} mines, opened at {opening} (board {name[-8:]})."
    return Task(name, prompt, " ".join(mined), difficulty, {"mines": rows, "first": first})
