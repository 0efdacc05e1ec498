"""turnwise/TowerOfHanoi-v0: from one position of the discs to another, never a larger disc on a smaller one.

Start and goal are any two positions, so no memorised procedure fits; the discs are numbered by size, with gaps, so there are
many tasks of few discs. A shortest solution between two positions is known in closed form: above the largest disc that has to
move, everything stands on the third peg when it goes straight, or on either when it goes over the third peg, and the better of
the two counts (the largest disc never needs to move more than twice).

Each move counts towards the turn limit, a shortest solution and a third of it and 3, so that fixed moves hardly ever arrive.
Levels are measured by the moves of a shortest solution:

    level  discs  moves
      1      5    6 to 9
      2      6    10 to 15
      3      6    16 to 31
      4      6    32 to 63
      5      7    64 to 127
"""

from __future__ import annotations

import re

import numpy as np
from typing_extensions import override

from turnwise.envs.core import Transition
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, answer_in, task_id
from turnwise.types import Task

__all__ = ["LEVELS", "Position", "TowerOfHanoi", "shortest"]

LEVELS: dict[int, tuple[int, int, int]] = {1: (5, 6, 9), 2: (6, 10, 15), 3: (6, 16, 31), 4: (6, 32, 63), 5: (7, 64, 127)}
"""Level -> (discs, least and most moves of a shortest solution)."""
PEGS = "ABC"
MAX_MOVES = 100
"""Moves one reply may hold."""

Position = tuple[int, ...]
"""[disc, smallest first] its peg, 0 to 2."""

_LARGEST = 99
_BETWEEN = re.compile(r"(?:->|→|to\b|[\s,;>])+")
_HOW = "Write moves as the peg to take from and the peg to put on, such as AC BC."
_PAPER: Colour = (236, 230, 216)
_DISC: Colour = (96, 140, 190)
_INK: Colour = (250, 250, 250)
_PEG: Colour = (120, 90, 60)


class TowerOfHanoi(Puzzle):
    """Bring every disc to its peg of the goal; reward 1 when they stand there, else 0. One reply plays one or several moves."""

    levels = range(1, len(LEVELS) + 1)

    _sizes: tuple[int, ...] = ()
    _goal: Position = ()
    _pegs: tuple[tuple[int, ...], ...] = ((), (), ())
    """[peg] its discs as indices, lowest first."""

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        discs, low, high = LEVELS[difficulty]
        sizes = sorted((rng.permutation(_LARGEST)[:discs] + 1).tolist())
        while True:
            draws = rng.integers(0, 3, 2 * discs).tolist()
            start, goal = tuple(draws[:discs]), tuple(draws[discs:])
            length = shortest(start, goal)[0]
            if low <= length <= high:
                return _task(sizes, start, goal, length, difficulty)

    @override
    def turns(self, task: Task) -> int:
        """A shortest solution, a third of it, and 3; each move counts as a turn."""
        length = int(task.metadata["length"])
        return length + length // 3 + 3

    @override
    def rules(self) -> str:
        return (
            "Tower of Hanoi: bring the discs into the position of the goal.\n"
            "Each line is a peg with its discs from the lowest to the top one. Only the top disc of a peg can be moved, and "
            "never onto a smaller one; a larger number is a larger disc.\n"
            "Reply with one or several moves, each as the peg to take from and the peg to put on, for example "
            f"<answer>AC BC</answer>.{self.allowance()}"
        )

    @override
    def place(self, task: Task) -> None:
        sizes, start, goal = (tuple(task.metadata[key]) for key in ("sizes", "start", "goal"))
        if not len(sizes) == len(start) == len(goal) or not set(start + goal) <= {0, 1, 2} or list(sizes) != sorted(set(sizes)):
            raise ValueError("sizes ascend, start and goal have a peg from 0 to 2 for each")
        if start == goal:
            raise ValueError("start and goal are the same")
        self._sizes, self._goal = sizes, goal
        self._pegs = _stacked(start)

    @override
    def opening(self) -> str:
        return f"Goal:\n{_shown(_stacked(self._goal), self._sizes)}\nNow:\n{self.board()}"

    @override
    def board(self) -> str:
        return _shown(self._pegs, self._sizes)

    @override
    def cells(self) -> list[list[Cell]]:
        height = len(self._sizes)
        blank: Cell = ("", _PAPER, _PAPER)
        columns: list[list[Cell]] = []
        for name, discs in zip(PEGS, self._pegs, strict=True):
            stack: list[Cell] = [(str(self._sizes[disc]), _DISC, _INK) for disc in discs]
            columns.append([(name, _PEG, _INK), *stack, *[blank] * (height - len(stack))])
        return [[cell for column in columns for cell in (blank, column[row])] + [blank] for row in range(height, -1, -1)]

    @override
    def play(self, action: str) -> Transition:
        moves = _read_moves(action)
        if isinstance(moves, str):
            return self.refuse(moves)
        pegs = [list(discs) for discs in self._pegs]
        goal, note = _stacked(self._goal), ""
        for number, (source, target) in enumerate(self.in_turns(moves)):
            wrong = self._wrong(pegs, source, target)
            if wrong:
                left = len(moves) - number - 1
                note = f"Move {PEGS[source]}{PEGS[target]} is not allowed: {wrong}."
                note += f" The {left} after it were not played." if left else ""
                break
            pegs[target].append(pegs[source].pop())
            if tuple(map(tuple, pegs)) == goal:
                break  # what follows in the reply is ignored
        self._pegs = tuple(map(tuple, pegs))
        return self.moved("Solved.", solved=True) if self._pegs == goal else self.moved(note)

    def _wrong(self, pegs: list[list[int]], source: int, target: int) -> str:
        """Why that move is not allowed; "" if it is."""
        if not pegs[source]:
            return f"there is no disc on {PEGS[source]}"
        if source != target and pegs[target] and pegs[target][-1] < pegs[source][-1]:
            return f"disc {self._sizes[pegs[source][-1]]} is larger than disc {self._sizes[pegs[target][-1]]}"
        return "it stays on its peg" if source == target else ""

    @override
    def expert_action(self) -> str:
        """The next move of a shortest solution from here."""
        self.need_episode()
        now = [0] * len(self._sizes)
        for peg, discs in enumerate(self._pegs):
            for disc in discs:
                now[disc] = peg
        _, (source, target) = shortest(tuple(now), self._goal)
        return f"<answer>{PEGS[source]}{PEGS[target]}</answer>"


def shortest(start: Position, goal: Position) -> tuple[int, tuple[int, int]]:
    """Moves of a shortest solution between two positions, and its first move as (from, to); (0, (0, 0)) for equal ones."""
    disc = next((d for d in range(len(start) - 1, -1, -1) if start[d] != goal[d]), None)
    if disc is None:
        return 0, (0, 0)
    source, target = start[disc], goal[disc]
    third = 3 - source - target
    (before, first), (after, _) = _gathered(start, disc, third), _gathered(goal, disc, third)
    straight = before + 1 + after, first or (source, target)
    (before, first), (after, _) = _gathered(start, disc, target), _gathered(goal, disc, source)
    around = before + 1 + (2**disc - 1) + 1 + after, first or (source, third)
    return min(straight, around, key=lambda way: way[0])


def _gathered(position: Position, discs: int, peg: int) -> tuple[int, tuple[int, int] | None]:
    """Moves that bring the `discs` smallest onto one peg, and the first of them (None: nothing is to be done)."""
    moves, first = 0, None
    for disc in range(discs - 1, -1, -1):
        here = position[disc]
        if here != peg:
            moves, first, peg = moves + 2**disc, (here, peg), 3 - here - peg
    return moves, first


def _stacked(position: Position) -> tuple[tuple[int, ...], ...]:
    downwards = range(len(position) - 1, -1, -1)
    return tuple(tuple(disc for disc in downwards if position[disc] == peg) for peg in range(3))


def _shown(pegs: tuple[tuple[int, ...], ...], sizes: tuple[int, ...]) -> str:
    return "\n".join(
        [f"{name}: {' '.join([str(sizes[disc]) for disc in discs]) or '_'}" for name, discs in zip(PEGS, pegs, strict=True)]
    )


def _read_moves(reply: str) -> list[tuple[int, int]] | str:
    """The moves of a reply as (from, to), or what is wrong with it."""
    answer = answer_in(reply)
    if not answer or len(answer) > 10 * MAX_MOVES:
        return f"A reply holds 1 to {MAX_MOVES} moves. {_HOW}"
    letters = _BETWEEN.sub("", answer.lower())
    if not letters or set(letters) - {"a", "b", "c"} or len(letters) % 2:
        return f"{answer[:20]!r} is no list of moves. {_HOW}"
    if len(letters) > 2 * MAX_MOVES:
        return f"A reply holds 1 to {MAX_MOVES} moves."
    pegs = ["abc".index(letter) for letter in letters]
    return list(zip(pegs[::2], pegs[1::2], strict=True))


def _task(sizes: list[int], start: Position, goal: Position, length: int, difficulty: int) -> Task:
    """`answer`: the position that is wanted."""
    shown = [_shown(_stacked(position), tuple(sizes)) for position in (start, goal)]
    prompt = f"Move the discs from\n{shown[0]}\nto\n{shown[1]}"
    metadata = {"sizes": sizes, "start": list(start), "goal": list(goal), "length": length}
    return Task(task_id("tower_of_hanoi", prompt), prompt, shown[1], difficulty, metadata)
