"""turnwise/FrozenLake-v0: walk over the ice to the goal and into no hole.

The rules are those of Gymnasium's FrozenLake-v1, for maps of any size with start and goal anywhere: a move over the edge stays
where it is, a hole ends the episode with nothing, the goal ends it with 1. `slippery=True` is its slippery ice: with
`success_rate` the move goes as wanted, else to either side of it, equally likely. Equal draws give equal moves in both.

Levels are measured by the moves of a shortest way; the goal is never in the row or column of the start, so no single direction
leads there. Each move counts towards the turn limit, half as many again as the shortest way, so that fixed walks hardly ever
arrive:

    level  board    moves of a shortest way
      1    6 x 6    6 and 7
      2    7 x 7    8 and 9
      3    8 x 8    10 to 12
      4    9 x 9    13 to 15
      5    10 x 10  16 and more

Source: Gymnasium, `gymnasium.envs.toy_text.frozen_lake`; `lake_task` takes its maps (`["SFFF", "FHFH", ...]`) as they are. On
slippery ice nobody can be sure to arrive: the expert then plays the policy that arrives most likely.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition, split_of
from turnwise.envs.options import TurnOptions
from turnwise.envs.puzzles.grid_paths import bits, first_run, layers, shortest_path
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, task_id
from turnwise.envs.puzzles.sokoban_rules import DIRECTIONS, read_moves
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["LEVELS", "FrozenLake", "lake_task"]

LEVELS: dict[int, tuple[int, int, int]] = {1: (6, 6, 7), 2: (7, 8, 9), 3: (8, 10, 12), 4: (9, 13, 15), 5: (10, 16, 10**9)}
"""Level -> (side of the board, least and most moves of a shortest way)."""

_HOLES = 0.25
_TRIES = 10_000
_GOALS = 6
"""Goals looked at on one lake before the next: a quarter of all ids is of the test split."""
_GYM = (3, 1, 0, 2)
"""Our number of a direction -> Gymnasium's: left, down, right, up. Slipping goes to its neighbours in that order."""
_OURS = (2, 1, 3, 0)
_PAPER: dict[str, Colour] = {"S": (214, 232, 244), "F": (214, 232, 244), "H": (38, 78, 120), "G": (120, 190, 110)}
_INK: Colour = (190, 40, 50)


class FrozenLake(Puzzle):
    """Reach the goal without falling into a hole; reward 1 at the goal, else 0. One reply plays one or several moves.

    slippery: whether the ice is slippery.
    success_rate: on slippery ice, the chance that a move goes where it should (0 to 1); each side has half of the rest.
    """

    levels = range(1, len(LEVELS) + 1)
    default_level = 2

    def __init__(
        self, *, slippery: bool = False, success_rate: float = 1 / 3, instructions: bool = True, **options: Unpack[TurnOptions]
    ):
        super().__init__(instructions=instructions, **options)
        if not 0.0 <= success_rate <= 1.0:
            raise ConfigError(f"FrozenLake: success_rate must be from 0 to 1, got {success_rate!r}.")
        self.slippery, self.success_rate = slippery, float(success_rate)
        self._lake = ""
        self._text = ""
        self._width = self._height = self._at = 0
        self._policy: tuple[int, ...] = ()

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return _random_lake(rng, None, difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        return _random_lake(rng, split, difficulty)

    @override
    def turns(self, task: Task) -> int:
        """Half as many again as the shortest way; on slippery ice ten times it and 50."""
        length = int(task.metadata["length"])
        return 10 * length + 50 if self.slippery else length + length // 2

    @override
    def rules(self) -> str:
        slips = "\nThe ice is slippery: you may slide to a side of where you want to go." if self.slippery else ""
        return (
            "Frozen lake: walk to the goal.\n@ you, G goal, _ ice, O hole. Falling into a hole ends the game.\n"
            f"Moves: up, down, left, right. A move over the edge does nothing.{slips}\n"
            f"Reply with one or several moves each turn, for example <answer>right down</answer>.{self.allowance()}"
        )

    @override
    def place(self, task: Task) -> None:
        rows: list[str] = list(task.metadata["map"])
        _check(rows)
        self._height, self._width = len(rows), len(rows[0])
        self._lake = "".join(rows)
        self._at = self._lake.index("S")
        self._text = "\n".join(" ".join(row) for row in rows).translate(_SHOWN)
        self._policy = ()

    @override
    def board(self) -> str:
        at = 2 * self._at
        return f"{self._text[:at]}@{self._text[at + 1 :]}"

    @override
    def cells(self) -> list[list[Cell]]:
        flat = [("@" if i == self._at else "G" if c == "G" else "", _PAPER[c], _INK) for i, c in enumerate(self._lake)]
        return [flat[start : start + self._width] for start in range(0, len(flat), self._width)]

    @override
    def play(self, action: str) -> Transition:
        moves = read_moves(action)
        if isinstance(moves, str):
            return self.refuse(moves)
        for index in self.in_turns(moves):
            self._at = self._next(self._at, self._slipped(index))
            if self._lake[self._at] in "GH":
                break  # what follows in the reply is ignored
        here = self._lake[self._at]
        if here == "G":
            return self.moved("You are at the goal.", solved=True)
        return self.moved("You fell into a hole.", lost=True) if here == "H" else self.moved()

    def _slipped(self, index: int) -> int:
        """Where a move really goes; one draw a move, used as Gymnasium uses it."""
        if not self.slippery:
            return index
        side = (1.0 - self.success_rate) / 2.0
        draw = self.np_random.random()
        turn = -1 if draw < side else 0 if draw < side + self.success_rate else 1
        return _OURS[(_GYM[index] + turn) % 4]

    def _next(self, at: int, index: int) -> int:
        width = self._width
        if index < 2:
            to = at + (width if index else -width)
            return to if 0 <= to < len(self._lake) else at
        column = at % width + (1 if index == 3 else -1)
        return at - at % width + column if 0 <= column < width else at

    @override
    def expert_action(self) -> str:
        """A shortest way from here, up to its first turn; on slippery ice the move that makes arriving most likely."""
        self.need_episode()
        if self.slippery:
            self._policy = self._policy or self._best_moves()
            return f"<answer>{DIRECTIONS[self._policy[self._at]]}</answer>"
        free, width = _free(self._lake, self._width), self._width + 1
        at, goal = (cell // self._width * width + cell % self._width for cell in (self._at, self._lake.index("G")))
        return first_run(shortest_path(free, at, goal, width))

    def _best_moves(self) -> tuple[int, ...]:
        """Per cell, by value iteration over the chance to arrive at all."""
        cells = range(len(self._lake))
        to = np.array([[self._next(cell, _OURS[a]) for a in range(4)] for cell in cells])  # [cells, 4], Gymnasium's order
        over = np.array([c in "GH" for c in self._lake])
        value = np.array([float(c == "G") for c in self._lake])
        side = (1.0 - self.success_rate) / 2.0
        chance = value[to]
        for _ in range(2_000):
            ends = value[to]
            chance = self.success_rate * ends + side * (np.roll(ends, 1, axis=1) + np.roll(ends, -1, axis=1))
            better = np.where(over, value, chance.max(axis=1) * (1 - 1e-6))  # so that waiting for ever is no way
            if np.abs(better - value).max() < 1e-9:
                break
            value = better
        return tuple(_OURS[int(a)] for a in chance.argmax(axis=1))


_SHOWN = str.maketrans("SFH", "__O")


def lake_task(rows: Sequence[str], difficulty: int = 1) -> Task:
    """A task of a map in Gymnasium's letters: S start, F frozen, H hole, G goal. Raises ConfigError if it cannot be crossed."""
    try:
        _check(rows)
    except ValueError as error:
        raise ConfigError(f"lake_task: {error}; got {str(list(rows))[:200]}.") from error
    lake, width = "".join(rows), len(rows[0])
    start, goal = (cell // width * (width + 1) + cell % width for cell in (lake.index("S"), lake.index("G")))
    path = shortest_path(_free(lake, width), start, goal, width + 1)
    if not path:
        raise ConfigError(f"lake_task: no way leads from S to G; got {str(list(rows))[:200]}. Take a hole away.")
    return _task(list(rows), path, difficulty)


def _task(rows: list[str], path: list[int], difficulty: int) -> Task:
    shown = "\n".join(" ".join(row) for row in rows).translate(_SHOWN | {ord("S"): "@"})
    prompt = f"Walk over the ice (_) from @ to G and into no hole (O).\n{shown}"
    answer = " ".join(DIRECTIONS[index] for index in path)
    return Task(task_id("frozen_lake", "\n".join(rows)), prompt, answer, difficulty, {"map": rows, "length": len(path)})


def _check(rows: Sequence[str]) -> None:
    lake = "".join(rows)
    same = len({len(row) for row in rows}) == 1
    if not same or not set(lake) <= set("SFHG") or lake.count("S") != 1 or lake.count("G") != 1:
        raise ValueError("a map is rows of equal width in S, F, H and G, with one S and one G")


def _free(lake: str, width: int) -> int:
    """The mask of the cells without a hole, with a closed column at the right."""
    rows = (lake[start : start + width] for start in range(0, len(lake), width))
    return int("".join(row + "H" for row in rows)[::-1].translate({ord("H"): "0", **dict.fromkeys(map(ord, "SFG"), "1")}), 2)


def _random_lake(rng: np.random.Generator, split: Split | None, difficulty: int) -> Task:
    side, low, high = LEVELS[difficulty]
    width = side + 1
    for _ in range(_TRIES):
        draws = rng.random(side * side + 1 + _GOALS).tolist()
        lake = "".join("H" if draws.pop() < _HOLES else "F" for _ in range(side * side))
        free = _free(lake, side)
        open_cells = bits(free)
        start = open_cells[int(draws.pop() * len(open_cells))]
        line = (1 << side) - 1 << start // width * width | sum(1 << r * width + start % width for r in range(side))
        far = layers(free, 1 << start, width)[low : high + 1]
        goals = [goal for mask in far for goal in bits(mask & ~line)]
        for draw in draws if goals else ():
            goal = goals[int(draw * len(goals))]
            rows = _rows(lake, side, start, goal)
            if split is None or split_of(task_id("frozen_lake", "\n".join(rows))) == split:
                return _task(rows, shortest_path(free, start, goal, width), difficulty)
    raise ConfigError(f"FrozenLake: no {split or ''} lake of level {difficulty} in {_TRIES} tries.")


def _rows(lake: str, side: int, start: int, goal: int) -> list[str]:
    cells = list(lake)
    for sign, cell in (("S", start), ("G", goal)):
        cells[cell // (side + 1) * side + cell % (side + 1)] = sign
    return ["".join(cells[first : first + side]) for first in range(0, side * side, side)]
