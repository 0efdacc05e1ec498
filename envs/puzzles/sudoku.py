"""turnwise/Sudoku-v0: fill the grid so that each row, column and box holds 1 to 9.

Cells can be filled over many turns or at once, overwritten and cleared. A digit that is twice in a row, column or box is said so;
whether a digit that fits is the right one is not, so that guessing earns nothing.

Every puzzle has one solution, and it can be found without guessing. Proof by construction: a full grid is emptied cell by cell,
and a cell is emptied only where the others force it, as the one digit left for the cell or the one place left for the digit in
its row, column or box. So filling in the opposite order is forced all the way. The full grids are one pattern with its digits,
rows, columns and bands shuffled (some 10^12 grids, of 6.7 * 10^21 that exist).

Levels are measured by the cells to fill:

    level  empty cells
      1     8 to 11
      2    18 to 21
      3    28 to 31
      4    36 to 39
      5    44 to 47
"""

from __future__ import annotations

import re

import numpy as np
from typing_extensions import override

from turnwise.envs.core import Transition
from turnwise.envs.draws import Draws
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, answer_in, task_id
from turnwise.types import Task

__all__ = ["BLANKS", "Sudoku", "conflicts", "forced"]

BLANKS = {1: (8, 11), 2: (18, 21), 3: (28, 31), 4: (36, 39), 5: (44, 47)}
"""Level -> least and most empty cells."""
MAX_FILLS = 81
"""Cells one reply may fill."""

_COLUMNS = "ABCDEFGHI"
_UNITS = tuple(
    [tuple(range(9 * r, 9 * r + 9)) for r in range(9)]
    + [tuple(range(c, 81, 9)) for c in range(9)]
    + [tuple(27 * (b // 3) + 3 * (b % 3) + 9 * r + c for r in range(3) for c in range(3)) for b in range(9)]
)
"""[27] the cells of each row, column and box."""
_OF = tuple(tuple(unit for unit in _UNITS if cell in unit) for cell in range(81))
"""[cell] its row, column and box."""
_PEERS = tuple(tuple(sorted({peer for unit in _OF[cell] for peer in unit} - {cell})) for cell in range(81))
_CELLS = {f"{_COLUMNS[c]}{r + 1}": 9 * r + c for r in range(9) for c in range(9)}
_BETWEEN = re.compile(r"[\s,;]+")
_FILL = re.compile(r"([A-I][1-9])[=:]?([0-9])", re.ASCII)
_HOW = "Write cells as column, row and digit, such as B3=7, separated by spaces; 0 clears a cell."
_PAPER: Colour = (244, 240, 230)
_SHADE: Colour = (226, 220, 204)
_GIVEN: Colour = (40, 40, 40)
_INK: Colour = (44, 104, 190)


class Sudoku(Puzzle):
    """Fill the grid; reward 1 when it is full and right, else 0. One reply fills one or several cells."""

    levels = range(1, len(BLANKS) + 1)

    _given: str = ""
    _grid: str = ""
    """81 digits row by row, 0 where empty."""
    _solution: str = ""

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        draws = Draws(rng)
        low, high = BLANKS[difficulty]
        while True:
            solution = _full_grid(draws)
            given = _emptied(draws, solution, low + draws.below(high - low + 1))
            if given.count("0") >= low:
                return _task(given, solution, difficulty)

    @override
    def turns(self, task: Task) -> int:
        """One and a half turns for each empty cell, and 6."""
        blanks = str(task.metadata["given"]).count("0")
        return blanks + blanks // 2 + 6

    @override
    def rules(self) -> str:
        return (
            "Sudoku: fill the grid so that each row, each column and each 3 x 3 box holds 1 to 9. _ is an empty cell.\n"
            "Reply with one or several cells to fill, as column, row and digit, for example <answer>B3=7 C1=2</answer>. A cell "
            "that you filled can be filled anew, or cleared with 0."
        )

    @override
    def place(self, task: Task) -> None:
        given, solution = str(task.metadata["given"]), task.answer
        if not re.fullmatch("[0-9]{81}", given) or not re.fullmatch("[1-9]{81}", solution) or "0" not in given:
            raise ValueError("given and answer are 81 digits, the given ones with a 0 for an empty cell")
        if any(len({solution[cell] for cell in unit}) != 9 for unit in _UNITS):
            raise ValueError("the answer breaks the rules")
        if any(g not in ("0", s) for g, s in zip(given, solution, strict=True)):
            raise ValueError("the answer is another grid's")
        self._given = self._grid = given
        self._solution = solution

    @override
    def board(self) -> str:
        return _shown(self._grid)

    @override
    def cells(self) -> list[list[Cell]]:
        flat: list[Cell] = [
            (digit.replace("0", ""), _SHADE if (i // 27 + i % 9 // 3) % 2 else _PAPER, _GIVEN if self._given[i] != "0" else _INK)
            for i, digit in enumerate(self._grid)
        ]
        return [flat[start : start + 9] for start in range(0, 81, 9)]

    @override
    def play(self, action: str) -> Transition:
        fills = self._read(action)
        if isinstance(fills, str):
            return self.refuse(fills)
        grid = list(self._grid)
        for cell, digit in fills:
            grid[cell] = digit
        self._grid = "".join(grid)
        if self._grid == self._solution:
            return self.moved("Solved.", solved=True)
        wrong = dict.fromkeys(conflict for cell, _ in fills for conflict in conflicts(self._grid, cell))
        return self.moved("\n".join(list(wrong)[:9]))

    def _read(self, reply: str) -> list[tuple[int, str]] | str:
        """(cell, digit) of each fill in a reply, or what is wrong with it."""
        answer = answer_in(reply)
        words = [word for word in _BETWEEN.split(answer.upper()) if word] if answer else []
        if not words or len(words) > MAX_FILLS:
            return f"A reply fills 1 to {MAX_FILLS} cells. {_HOW}"
        fills: list[tuple[int, str]] = []
        for word in words:
            match = _FILL.fullmatch(word)
            if match is None:
                return f"{word[:20]!r} is no cell with a digit. {_HOW}"
            cell = _CELLS[match[1]]
            if self._given[cell] != "0":
                return f"{match[1]} is given and cannot be changed. Nothing was filled."
            fills.append((cell, match[2]))
        return fills

    @override
    def expert_action(self) -> str:
        """The next cell that is forced where all is right so far, else one that is wrong."""
        self.need_episode()
        todo = [cell for cell in range(81) if self._grid[cell] != self._solution[cell]]
        wrong = [cell for cell in todo if self._grid[cell] != "0"]
        digits = [int(digit) for digit in self._grid]
        cell = (wrong or [cell for cell in todo if forced(digits, cell, int(self._solution[cell]))] or todo)[0]
        return f"<answer>{_COLUMNS[cell % 9]}{cell // 9 + 1}={self._solution[cell]}</answer>"


def forced(grid: list[int], cell: int, digit: int) -> bool:
    """Whether the rest leaves nothing else: only that digit for the empty cell, or only that cell for the digit in a unit."""
    if len({grid[peer] for peer in _PEERS[cell]} - {0}) == 8:
        return True
    return any(all(other == cell or grid[other] or _seen(grid, other, digit) for other in unit) for unit in _OF[cell])


def _seen(grid: list[int], cell: int, digit: int) -> bool:
    return any(grid[peer] == digit for peer in _PEERS[cell])


def conflicts(grid: str, cell: int) -> list[str]:
    """What the digit of a cell breaks, in words."""
    digit = grid[cell]
    if digit == "0":
        return []
    names = (f"row {cell // 9 + 1}", f"column {_COLUMNS[cell % 9]}", f"the box of {_COLUMNS[cell % 9]}{cell // 9 + 1}")
    units = zip(names, _OF[cell], strict=True)
    return [f"{digit} is twice in {name}." for name, unit in units if sum(grid[other] == digit for other in unit) > 1]


def _full_grid(draws: Draws) -> str:
    """A full grid: the pattern that shifts by three, with digits, rows within bands, bands, columns and stacks shuffled."""
    digits = draws.shuffled("123456789")
    rows, columns = (
        [3 * band + line for band in draws.shuffled(range(3)) for line in draws.shuffled(range(3))] for _ in range(2)
    )
    turned = draws.below(2)
    grid = [[digits[(3 * (r % 3) + r // 3 + c) % 9] for c in columns] for r in rows]
    return "".join("".join(line) for line in (zip(*grid, strict=True) if turned else grid))


def _emptied(draws: Draws, solution: str, blanks: int) -> str:
    grid = [int(digit) for digit in solution]
    for cell in draws.shuffled(range(81)):
        if not blanks:
            break
        digit, grid[cell] = grid[cell], 0
        if forced(grid, cell, digit):
            blanks -= 1
        else:
            grid[cell] = digit
    return "".join(map(str, grid))


def _shown(grid: str) -> str:
    rows = [f"{r + 1} {' '.join(grid[9 * r : 9 * r + 9])}".replace("0", "_") for r in range(9)]
    return "\n".join([f"  {' '.join(_COLUMNS)}", *rows])


def _task(given: str, solution: str, difficulty: int) -> Task:
    """`answer`: the full grid, row by row."""
    prompt = f"Solve this Sudoku.\n{_shown(given)}"
    return Task(task_id("sudoku", given), prompt, solution, difficulty, {"given": given})
