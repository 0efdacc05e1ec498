"""turnwise/Maze-v0: find the way through a maze.

The maze is shown whole, as Sokoban's boards are: "#" is wall, "_" floor, and a move goes one cell. Mazes are grown by depth-first
search, which makes long winding ways with one way between any two places (a perfect maze); then the share `braid` of its dead
ends is opened, which makes loops, so that there is more than one way and keeping to a wall no longer leads everywhere.

Each move counts towards the turn limit, twice the shortest way: a walk without aim hardly ever arrives in time. Levels are
measured by the moves of a shortest way:

    level  rooms     moves of a shortest way
      1    5 x 5     12 to 16
      2    6 x 6     16 to 24
      3    8 x 8     26 to 38
      4    10 x 10   40 to 58
      5    13 x 13   60 and more

With `sight=n` only cells at most n rows and columns away are shown, others as "?": what was seen has to be remembered, and the
way cannot be read off the first board. The expert knows the whole maze.
"""

from __future__ import annotations

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition, split_of
from turnwise.envs.draws import Draws
from turnwise.envs.options import TurnOptions
from turnwise.envs.puzzles.grid_paths import bits, first_run, layers, shortest_path
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, task_id
from turnwise.envs.puzzles.sokoban_rules import DIRECTIONS, read_moves, steps_of
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["LEVELS", "Maze", "grown_maze"]

LEVELS: dict[int, tuple[int, int, int]] = {1: (5, 12, 16), 2: (6, 16, 24), 3: (8, 26, 38), 4: (10, 40, 58), 5: (13, 60, 10**9)}
"""Level -> (rooms a side, least and most moves of a shortest way)."""

_TRIES = 2_000
_PAIRS = 8
"""Places of start and goal looked at in one maze before the next: a quarter of all ids is of the test split."""
_PAPER: dict[str, Colour] = {
    "#": (70, 76, 90),
    "_": (236, 230, 216),
    "G": (120, 190, 110),
    "?": (160, 160, 160),
    "@": (236, 230, 216),
}
_INK: Colour = (190, 40, 50)


class Maze(Puzzle):
    """Walk from @ to G; reward 1 at the goal, else 0. One reply plays one or several moves; one into a wall does nothing.

    braid: the share of dead ends that are opened (0 to 1); 0 makes perfect mazes.
    sight: rows and columns that can be seen in each direction; None shows the whole maze.
    """

    levels = range(1, len(LEVELS) + 1)
    default_level = 2

    def __init__(
        self, *, braid: float = 0.3, sight: int | None = None, instructions: bool = True, **options: Unpack[TurnOptions]
    ) -> None:
        super().__init__(instructions=instructions, **options)
        if not 0.0 <= braid <= 1.0:
            raise ConfigError(f"Maze: braid must be from 0 to 1, got {braid!r}.")
        if sight is not None and sight < 1:
            raise ConfigError(f"Maze: sight must be at least 1, or None for the whole maze; got {sight!r}.")
        self.braid, self.sight = float(braid), sight
        self._walls = ""
        self._width = self._at = self._goal = 0

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return self._random(rng, None, difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        return self._random(rng, split, difficulty)

    def _random(self, rng: np.random.Generator, split: Split | None, difficulty: int) -> Task:
        rooms, low, high = LEVELS[difficulty]
        width, draws = 2 * rooms + 1, Draws(rng)
        for _ in range(_TRIES):
            free = grown_maze(draws, rooms, self.braid)
            for _ in range(_PAIRS):
                start = width * (1 + 2 * draws.below(rooms)) + 1 + 2 * draws.below(rooms)
                goals = [goal for mask in layers(free, 1 << start, width)[low : high + 1] for goal in bits(mask)]
                if not goals:
                    continue
                goal = draws.pick(goals)
                rows = _rows(free, width, start, goal)
                if split is None or split_of(task_id("maze", "\n".join(rows))) == split:
                    return _task(rows, shortest_path(free, start, goal, width), difficulty)
        raise ConfigError(f"Maze: no {split or ''} maze of level {difficulty} in {_TRIES} tries; ask for a smaller braid.")

    @override
    def turns(self, task: Task) -> int:
        """Twice the shortest way; ten times it where the way has to be found first."""
        return (10 if self.sight else 2) * int(task.metadata["length"])

    @override
    def rules(self) -> str:
        sight = f"\nYou see {self.sight} cells far; ? is what you cannot see." if self.sight else ""
        return (
            "Maze: walk to the goal.\n# wall, _ floor, G goal, @ you.\n"
            f"Moves: up, down, left, right, one cell each. A move into a wall does nothing.{sight}\n"
            f"Reply with one or several moves each turn, for example <answer>right right down</answer>.{self.allowance()}"
        )

    @override
    def place(self, task: Task) -> None:
        rows: list[str] = list(task.metadata["maze"])
        walls = "".join(rows)
        border = rows[0] + rows[-1] + "".join(row[0] + row[-1] for row in rows)
        if len({len(row) for row in rows}) != 1 or not set(walls) <= set("#_@G") or not set(border) <= {"#"}:
            raise ValueError("a maze is rows of equal width in #, _, @ and G, with walls around")
        self._width = len(rows[0])
        self._at, self._goal = walls.index("@"), walls.index("G")
        self._walls = walls.replace("@", "_")

    def _shown(self) -> list[str]:
        width, at, sight = self._width, self._at, self.sight
        text = f"{self._walls[:at]}@{self._walls[at + 1 :]}"
        rows = [text[start : start + width] for start in range(0, len(text), width)]
        if sight is None:
            return rows
        row, column = divmod(at, width)
        left, right = max(column - sight, 0), column + sight + 1
        return [
            "?" * left + line[left:right] + "?" * (width - right) if abs(r - row) <= sight else "?" * width
            for r, line in enumerate(rows)
        ]

    @override
    def board(self) -> str:
        return "\n".join([" ".join(row) for row in self._shown()])

    @override
    def cells(self) -> list[list[Cell]]:
        return [[(sign if sign in "@G?" else "", _PAPER[sign], _INK) for sign in row] for row in self._shown()]

    @override
    def play(self, action: str) -> Transition:
        moves = read_moves(action)
        if isinstance(moves, str):
            return self.refuse(moves)
        steps, played, blocked = steps_of(self._width), 0, 0
        for index in self.in_turns(moves):
            played += 1
            to = self._at + steps[index]
            if self._walls[to] == "#":
                blocked += 1
                continue
            self._at = to
            if to == self._goal:
                return self.moved("You are at the goal.", solved=True)  # what follows in the reply is ignored
        return self.moved((f"Blocked: {blocked} of {played} moves." if played > 1 else "Blocked.") if blocked else "")

    @override
    def expert_action(self) -> str:
        """A shortest way from here, up to its first turn."""
        self.need_episode()
        free = int(self._walls[::-1].translate(_IS_FREE), 2)
        return first_run(shortest_path(free, self._at, self._goal, self._width))


_IS_FREE = {ord("#"): "0", ord("_"): "1", ord("G"): "1"}


def grown_maze(draws: Draws, rooms: int, braid: float) -> int:
    """The mask of the free cells of a maze of rooms x rooms rooms, on a grid of 2 * rooms + 1 cells a side."""
    width = 2 * rooms + 1
    leaps = (-2 * width, 2 * width, -2, 2)
    inside = {width * r + c for r in range(1, width, 2) for c in range(1, width, 2)}
    here = width * (1 + 2 * draws.below(rooms)) + 1 + 2 * draws.below(rooms)
    new, way, free = inside - {here}, [here], 1 << here
    while way:
        here = way[-1]
        ahead = [leap for leap in leaps if here + leap in new]
        if not ahead:
            way.pop()
            continue
        leap = ahead[draws.below(len(ahead))]
        free |= 1 << here + leap // 2 | 1 << here + leap
        new.discard(here + leap)
        way.append(here + leap)
    return _braided(draws, free, width, inside, braid)


def _braided(draws: Draws, free: int, width: int, inside: set[int], braid: float) -> int:
    for here in sorted(inside):
        walls = [step for step in steps_of(width) if not free >> (here + step) & 1]
        if len(walls) == 3 and draws.uniform() < braid:
            through = [step for step in walls if here + 2 * step in inside]
            free |= 1 << here + draws.pick(through)
    return free


def _rows(free: int, width: int, start: int, goal: int) -> list[str]:
    cells = list(f"{free:0{width * width}b}"[::-1].replace("0", "#").replace("1", "_"))
    cells[start], cells[goal] = "@", "G"
    return ["".join(cells[first : first + width]) for first in range(0, width * width, width)]


def _task(rows: list[str], path: list[int], difficulty: int) -> Task:
    prompt = "Walk through the maze from @ to G; # is wall.\n" + "\n".join(" ".join(row) for row in rows)
    answer = " ".join(DIRECTIONS[index] for index in path)
    return Task(task_id("maze", "\n".join(rows)), prompt, answer, difficulty, {"maze": rows, "length": len(path)})
