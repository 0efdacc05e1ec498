"""turnwise/Minesweeper-v0: open every cell that holds no mine. No board needs a guess.

The first cell is open already. A number says how many of the up to eight cells around it hold mines; where it is 0, those around
it open by themselves. Opening a mine ends the game with nothing. Every board can be opened by reasoning alone: it is made only if
the solver, which never guesses, opens it all (a search: some 500 resets a CPU second at level 5, 3,000 at level 1).

    level  board    mines
      1    6 x 6      6
      2    7 x 7      9
      3    8 x 8     12
      4    9 x 9     14
      5    10 x 10   17

The expert opens, each turn, all cells that are surely safe.
"""

from __future__ import annotations

import re

import numpy as np
from typing_extensions import override

from turnwise.envs.core import Split, Transition, split_of
from turnwise.envs.draws import Draws
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.minesweeper_solver import around, opened, safe_cells, solvable
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
_NAME = re.compile(r"([A-J])([1-9]|10)", re.ASCII)
_BETWEEN = re.compile(r"[\s,;]+")
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
    """As a mask, as is what is open."""
    _shown: int = 0
    _numbers: tuple[int, ...] = ()
    _below: tuple[str, ...] = ()
    """What each cell shows once it is open."""

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
        self._mines = int(text[::-1].translate({ord("*"): "1", ord("_"): "0"}), 2)
        self._numbers = _numbers(side, self._mines)
        self._below = tuple(["*" if sign == "*" else str(number) for sign, number in zip(text, self._numbers, strict=True)])
        self._shown = opened(side, self._numbers, 0, first)
        if self._shown.bit_count() + self._mines.bit_count() == side * side:
            raise ValueError("the first cell opens all")

    def _signs(self) -> list[str]:
        shown = f"{self._shown:0{len(self._below)}b}"[::-1]
        return [sign if seen == "1" else "?" for seen, sign in zip(shown, self._below, strict=True)]

    @override
    def board(self) -> str:
        signs, side = self._signs(), self._side
        rows = [f"{r + 1:>2} {' '.join(signs[r * side : (r + 1) * side])}" for r in range(side)]
        return "\n".join([f"   {' '.join(_COLUMNS[:side])}", *rows])

    @override
    def cells(self) -> list[list[Cell]]:
        paper = {"?": _CLOSED, "*": _MINE}
        flat: list[Cell] = [("" if sign in "?0" else sign, paper.get(sign, _OPEN), _INK) for sign in self._signs()]
        return [flat[start : start + self._side] for start in range(0, len(flat), self._side)]

    @override
    def play(self, action: str) -> Transition:
        answer, side = answer_in(action), self._side
        words = [word for word in _BETWEEN.split(answer.upper()) if word] if answer else []
        if not words or len(words) > MAX_CELLS:
            return self.refuse(f"A reply opens 1 to {MAX_CELLS} cells. {_HOW}")
        cells: list[int] = []
        for word in words:
            match = _NAME.fullmatch(word)
            if match is None or _COLUMNS.index(match[1]) >= side or int(match[2]) > side:
                return self.refuse(f"{word[:20]!r} is not a cell from A1 to {_COLUMNS[side - 1]}{side}. {_HOW}")
            cells.append((int(match[2]) - 1) * side + _COLUMNS.index(match[1]))
        before = self._shown
        for cell in cells:
            if self._mines >> cell & 1:
                self._shown |= 1 << cell
                return self.moved(f"{_COLUMNS[cell % side]}{cell // side + 1} was a mine.", lost=True)
            self._shown = opened(side, self._numbers, self._shown, cell)
        if self._shown.bit_count() + self._mines.bit_count() == side * side:
            return self.moved("All safe cells are open.", solved=True)
        return self.moved("Open already." if self._shown == before else "")

    @override
    def expert_action(self) -> str:
        """All cells that are surely safe; on a board that was not made here and needs a guess, a cell without a mine."""
        self.need_episode()
        side, closed = self._side, (1 << self._side**2) - 1 & ~self._shown & ~self._mines
        safe = safe_cells(side, self._numbers, self._shown, self._mines.bit_count()) or closed & -closed
        names = [f"{_COLUMNS[cell % side]}{cell // side + 1}" for cell in range(side * side) if safe >> cell & 1]
        return f"<answer>{' '.join(names)}</answer>"


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
        text = "".join("*" if mines >> cell & 1 else "_" for cell in range(side * side))
        name = task_id("minesweeper", f"{text} {first}")
        if (split is None or split_of(name) == split) and solvable(side, _numbers(side, mines), count, first):
            return _task(name, text, side, first, difficulty)
    raise ConfigError(f"Minesweeper: no {split or ''} board of level {difficulty} in {_TRIES} tries.")


def _task(name: str, text: str, side: int, first: int, difficulty: int) -> Task:
    """`answer`: where the mines are."""
    mined = [f"{_COLUMNS[cell % side]}{cell // side + 1}" for cell, sign in enumerate(text) if sign == "*"]
    rows = [text[start : start + side] for start in range(0, side * side, side)]
    opening = f"{_COLUMNS[first % side]}{first // side + 1}"
    prompt = f"Minesweeper of {side} x {side} cells with {len(mined)} mines, opened at {opening} (board {name[-8:]})."
    return Task(name, prompt, " ".join(mined), difficulty, {"mines": rows, "first": first})
