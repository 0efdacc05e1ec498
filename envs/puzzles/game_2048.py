"""turnwise/Game2048-v0: push the tiles until two equal ones have merged into the target (the game 2048).

A push slides all tiles as far as they go. Two equal tiles that meet merge into one of twice the value; a tile merges once a push,
and those farthest in the direction of the push first. After a push that moved something a new tile comes into a random empty
cell: a 2 with probability 9/10, else a 4. Where nothing can move any more the game is lost.

The new tiles are a part of the task: its seed draws one number after each push that moved something. All episodes of a task meet
the same luck, and nobody can know it; only the expert looks at it, with a beam search.

Levels are measured by the pushes that the target takes:

    level  board  target  turns allowed
      1    2 x 4     64         80
      2    3 x 3    128        160
      3    3 x 4    256        320
      4    3 x 4    512        640
      5    4 x 4   1024       1000

The boards are small for their targets, because on roomy ones nobody needs to look: "left, down, right, down" for ever reaches 256
on 4 x 4 in four games of five, but 64 on 2 x 4 in one of eight, and the others of these hardly ever. The game as it is known is
`rows=4, columns=4, target=2048`. The rules are those of G. Cirulli's game (2014).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from turnwise.envs.core import Transition
from turnwise.envs.options import TurnOptions
from turnwise.envs.puzzles.game_2048_rules import DIRECTIONS, Board, Row, slid, stuck, with_new_tile
from turnwise.envs.puzzles.game_2048_solver import way_to
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, answer_in, task_id
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["LEVELS", "Game2048"]

LEVELS = {1: (2, 4, 64, 80), 2: (3, 3, 128, 160), 3: (3, 4, 256, 320), 4: (3, 4, 512, 640), 5: (4, 4, 1024, 1000)}
"""Level -> rows and columns of the board, target, turns allowed."""
LARGEST = {8: 64, 9: 256, 10: 256, 12: 512, 15: 1024, 16: 2048, 20: 2048, 25: 2048}
"""Cells -> largest target."""
PATIENCE = 10
"""Replies in a row that move nothing, after which the game is over."""

_SIDES = range(2, 6)
_SEEDS = 2**62
_BLOCK = 256
_BETWEEN = re.compile(r"[\s,;]+")
_INK: Colour = (250, 246, 240)
_DARK: Colour = (110, 100, 92)
_EMPTY: Colour = (204, 192, 178)
_COLOURS: tuple[Colour, ...] = (
    *((238, 228, 218), (236, 220, 190), (242, 176, 120), (244, 148, 98), (246, 124, 94), (246, 94, 58)),
    *((232, 200, 96), (228, 190, 70), (224, 180, 50), (216, 168, 30), (206, 154, 10)),
)
"""Of 2, 4, 8, ... 2048."""


class Game2048(Puzzle):
    """Reach the target; reward 1 for the push that makes it, else 0. Ten replies in a row that move nothing end the game.

    rows, columns, target: the board, each 2 to 5, and the tile to reach, a power of 2, with as many turns; as the level says if
        None.
    moves: pushes one reply may hold.
    """

    levels = range(1, len(LEVELS) + 1)

    def __init__(
        self,
        *,
        rows: int | None = None,
        columns: int | None = None,
        target: int | None = None,
        moves: int = 1,
        instructions: bool = True,
        **options: Unpack[TurnOptions],
    ) -> None:
        super().__init__(instructions=instructions, **options)
        own = (rows, columns, target)
        if own != (None, None, None) and not _fits(*own):
            largest = ", ".join(f"{most} on {cells} cells" for cells, most in LARGEST.items())
            raise ConfigError(
                "Game2048: rows, columns (2 to 5) and target must be given together, the target a power of 2 from 8 to the "
                f"largest of the board ({largest}); got rows={rows!r}, columns={columns!r}, target={target!r}."
            )
        if not 1 <= moves <= 100:
            raise ConfigError(f"Game2048: moves must be from 1 to 100, got {moves!r}.")
        self.rows, self.columns, self.target, self.moves = rows, columns, target, moves
        self._board: Board = ()
        self._wanted = 0
        self._seed = 0
        self._pushes = 0
        """Pushes that moved something."""
        self._idle = 0
        """Replies in a row that moved nothing."""
        self._way = ""
        """What the expert wants to do from here, a letter for each push; "" if it has not thought about it."""

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        rows, columns, target, turns = LEVELS[difficulty]
        if self.rows is not None and self.columns is not None and self.target is not None:
            rows, columns, target, turns = self.rows, self.columns, self.target, self.target
        seed = int(rng.integers(_SEEDS))
        prompt = f"Reach {target} in 2048.\n{_shown(_start(rows, columns, seed), target)}"
        metadata = {"rows": rows, "columns": columns, "target": target, "seed": seed, "turns": turns}
        return Task(task_id("game_2048", f"{rows} {columns} {target} {seed}"), prompt, "", difficulty, metadata)

    @override
    def turns(self, task: Task) -> int:
        """As the level says; a reply that moves nothing takes one too."""
        return int(task.metadata["turns"])

    @override
    def rules(self) -> str:
        several = f"one or several directions, up to {self.moves}," if self.moves > 1 else "one direction"
        example = "left down" if self.moves > 1 else "left"
        return (
            f"2048: make a tile of {self._wanted}.\nA push slides all tiles up, down, left or right as far as they go. Two equal "
            "tiles that meet merge into one of twice the value. After each push that moved something, a new 2 (or, seldom, a 4) "
            "comes into a random empty cell. A dot is an empty cell.\n"
            f"Reply with {several} each turn, for example <answer>{example}</answer>."
        )

    @override
    def place(self, task: Task) -> None:
        rows, columns, target, seed = (task.metadata[key] for key in ("rows", "columns", "target", "seed"))
        if not (type(seed) is int and seed >= 0 and _fits(rows, columns, target) and self.turns(task) > 0):
            raise ValueError("rows and columns are 2 to 5, target a power of 2 that fits, seed 0 or more, turns 1 or more")
        self._board, self._wanted, self._seed = _start(rows, columns, seed), target, seed
        self._pushes, self._idle, self._way = 0, 0, ""

    @override
    def board(self) -> str:
        return _shown(self._board, self._wanted)

    @override
    def cells(self) -> list[list[Cell]]:
        return [[_cell(tile) for tile in row] for row in self._board]

    @override
    def play(self, action: str) -> Transition:
        answer = answer_in(action)
        words = [word for word in _BETWEEN.split(answer.lower()) if word] if answer and len(answer) < 1000 else []
        if not words or len(words) > self.moves or any(word not in DIRECTIONS for word in words):
            number = "one" if self.moves == 1 else f"1 to {self.moves}"
            return self._still(f"Write {number} of up, down, left, right.", valid=False)
        before = self._pushes
        for word in words:
            self._push(word)
            if any(self._wanted in row for row in self._board):
                return self.moved(f"{self._wanted} is reached.", solved=True)  # what follows in the reply is ignored
        if self._pushes == before:
            return self._still(f"Nothing moves {words[0]}." if len(words) == 1 else "Nothing moves that way.", valid=True)
        self._idle = 0
        if stuck(self._board):
            return self.moved("No push moves anything: the game is lost.", lost=True)
        return self.moved()

    def _push(self, direction: str) -> None:
        pushed = slid(self._board, direction)
        if pushed != self._board:
            self._board = with_new_tile(pushed, _luck(self._seed, self._pushes + 2))
            self._pushes += 1
            self._way = self._way[1:] if self._way.startswith(direction[0]) else ""

    def _still(self, why: str, *, valid: bool) -> Transition:
        """The answer to a reply that moved nothing."""
        self._idle += 1
        over = self._idle == PATIENCE
        note = f"{why} The game is over: {PATIENCE} replies in a row moved nothing." if over else why
        return Transition(f"{self.board()}\n{note}", terminated=over, valid=valid)

    @override
    def expert_action(self) -> str:
        """The next push of a way to the target, found with the new tiles to come in sight."""
        self.need_episode()
        if not self._way:
            drawn = self._pushes + 2
            self._way = "".join(way[0] for way in way_to(self._wanted, self._board, lambda i: _luck(self._seed, drawn + i)))
        return f"<answer>{_DIRECTION[self._way[:1] or 'u']}</answer>"


_DIRECTION = {direction[0]: direction for direction in DIRECTIONS}


def _fits(rows: Any, columns: Any, target: Any) -> bool:
    if any(type(number) is not int for number in (rows, columns, target)) or rows not in _SIDES or columns not in _SIDES:
        return False
    return 8 <= target <= LARGEST.get(rows * columns, 0) and target.bit_count() == 1


@lru_cache(maxsize=4096)
def _numbers(seed: int, block: int) -> NDArray[np.float64]:
    """[_BLOCK] the numbers in [0, 1) that a task draws, in the order of its new tiles."""
    return np.random.default_rng((seed, block)).random(_BLOCK)


def _luck(seed: int, index: int) -> float:
    """What decides about the new tile of that index; the first two are on the board at the start."""
    return float(_numbers(seed, index // _BLOCK)[index % _BLOCK])


def _start(rows: int, columns: int, seed: int) -> Board:
    empty = ((0,) * columns,) * rows
    return with_new_tile(with_new_tile(empty, _luck(seed, 0)), _luck(seed, 1))


def _shown(board: Board, target: int) -> str:
    width = len(str(target))
    return "\n".join([_shown_row(row, width) for row in board])


@lru_cache(maxsize=1 << 16)
def _shown_row(row: Row, width: int) -> str:
    return " ".join(f"{tile or '.':>{width}}" for tile in row)


def _cell(tile: int) -> Cell:
    if not tile:
        return ("", _EMPTY, _EMPTY)
    return (str(tile), _COLOURS[min(tile.bit_length() - 2, len(_COLOURS) - 1)], _DARK if tile <= 4 else _INK)
