"""turnwise/LightsOut-v0: press buttons until every light is out.

A button toggles its own light and those above, below, left and right of it. The order of the presses does not matter, so a
solution is a set of buttons: linear equations over GF(2). On boards of side 4, 5 and 9 some sets of buttons change nothing;
there the solver takes the smallest of all solutions.

Levels are measured by the fewest presses:

    level  presses
      1     5 and 6
      2     7 to 9
      3    10 to 13
      4    14 to 18
      5    19 to 24
"""

from __future__ import annotations

import re

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition, split_of
from turnwise.envs.options import TurnOptions
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.lights_out_solver import fewest_presses, plus
from turnwise.envs.puzzles.puzzle import Puzzle, answer_in, task_id
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["PRESSES", "LightsOut"]

PRESSES = {1: (5, 6), 2: (7, 9), 3: (10, 13), 4: (14, 18), 5: (19, 24)}
"""Level -> least and most presses of a smallest solution."""
MAX_PRESSES = 100
"""Presses one reply may hold."""

_TRIES = 10_000
_COLUMNS = "ABCDEFGHI"
_BETWEEN = re.compile(r"[\s,]+")
_HOW = "Write buttons as column and row, such as B3, separated by spaces."
_ON: Colour = (250, 214, 80)
_OFF: Colour = (60, 66, 80)
_INK: Colour = (150, 156, 170)


class LightsOut(Puzzle):
    """Put all lights out; reward 1 when they are, else 0. One reply presses one or several buttons.

    side: rows and columns of the board, 5 to 9. Side 5 has no boards of level 5: 15 presses do for any.
    """

    levels = range(1, len(PRESSES) + 1)

    def __init__(self, *, side: int = 7, instructions: bool = True, **options: Unpack[TurnOptions]) -> None:
        super().__init__(instructions=instructions, **options)
        if not 5 <= side <= 9:
            raise ConfigError(f"LightsOut: side must be from 5 to 9, got {side!r}.")
        self.side = side
        self._lights = 0
        self._here = side
        """The side of the board that is played."""

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return self._random(rng, None, difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        return self._random(rng, split, difficulty)

    def _random(self, rng: np.random.Generator, split: Split | None, difficulty: int) -> Task:
        low, high = PRESSES[difficulty]
        buttons = plus(self.side)
        for _ in range(_TRIES):
            count = int(rng.integers(low, high + 1))
            lights = 0
            for button in rng.permutation(self.side**2)[:count].tolist():
                lights ^= buttons[button]
            name = task_id("lights_out", f"{self.side} {lights}")
            if split is not None and split_of(name) != split:
                continue
            solution = fewest_presses(self.side, lights)
            if solution is not None and low <= solution.bit_count() <= high:
                return _task(name, self.side, lights, solution, difficulty)
        raise ConfigError(f"LightsOut: no board of side {self.side} needs {low} to {high} presses; take a larger one.")

    @override
    def turns(self, task: Task) -> int:
        """Twice the fewest presses and 4."""
        return 2 * int(task.metadata["length"]) + 4

    @override
    def rules(self) -> str:
        return (
            "Lights out: put every light out.\nO is a light that is on, _ one that is off. Pressing a button toggles its light "
            "and those above, below, left and right of it.\n"
            "Reply with one or several buttons as column and row, for example <answer>B3 A1</answer>."
        )

    @override
    def place(self, task: Task) -> None:
        rows: list[str] = list(task.metadata["lights"])
        text = "".join(rows)
        side = len(rows)
        if not 2 <= side <= 9 or any(len(row) != side for row in rows) or not set(text) <= set("O_") or "O" not in text:
            raise ValueError("lights are rows of O and _, as many as they are long, not all off")
        self._here = side
        self._lights = int(text[::-1].translate(_AS_BITS), 2)
        if fewest_presses(side, self._lights) is None:
            raise ValueError("these lights cannot all be put out")

    @override
    def board(self) -> str:
        return _shown(self._here, self._lights)

    @override
    def cells(self) -> list[list[Cell]]:
        side = self._here
        return [
            [(f"{_COLUMNS[c]}{r + 1}", _ON if self._lights >> r * side + c & 1 else _OFF, _INK) for c in range(side)]
            for r in range(side)
        ]

    @override
    def play(self, action: str) -> Transition:
        answer = answer_in(action)
        words = [word for word in _BETWEEN.split(answer.upper()) if word] if answer else []
        names, buttons, side = _BUTTONS[self._here], plus(self._here), self._here
        wrong = next((word for word in words if word not in names), None)
        if wrong is not None:
            return self.refuse(f"{wrong[:20]!r} is not a button from A1 to {_COLUMNS[side - 1]}{side}. {_HOW}")
        if not words or len(words) > MAX_PRESSES:
            return self.refuse(f"A reply presses 1 to {MAX_PRESSES} buttons. {_HOW}")
        for word in words:
            self._lights ^= buttons[names[word]]
            if not self._lights:
                return self.moved("All lights are out.", solved=True)  # what follows in the reply is ignored
        return self.moved()

    @override
    def expert_action(self) -> str:
        """The first button of a smallest solution from here."""
        self.need_episode()
        presses = fewest_presses(self._here, self._lights) or 1
        row, column = divmod((presses & -presses).bit_length() - 1, self._here)
        return f"<answer>{_COLUMNS[column]}{row + 1}</answer>"


_AS_BITS = {ord("O"): "1", ord("_"): "0"}
_AS_LIGHTS = {ord("1"): "O", ord("0"): "_"}


_BUTTONS = {side: {f"{_COLUMNS[c]}{r + 1}": r * side + c for r in range(side) for c in range(side)} for side in range(2, 10)}
"""Side -> name of a button -> its bit."""


def _rows(side: int, lights: int) -> list[str]:
    text = f"{lights:0{side * side}b}"[::-1].translate(_AS_LIGHTS)
    return [text[start : start + side] for start in range(0, side * side, side)]


def _shown(side: int, lights: int) -> str:
    rows = [f"{number} {' '.join(row)}" for number, row in enumerate(_rows(side, lights), 1)]
    return "\n".join([f"  {' '.join(_COLUMNS[:side])}", *rows])


def _task(name: str, side: int, lights: int, solution: int, difficulty: int) -> Task:
    """`answer`: the buttons of a smallest solution."""
    answer = " ".join(word for word, button in _BUTTONS[side].items() if solution >> button & 1)
    prompt = f"Put all lights (O) out.\n{_shown(side, lights)}"
    metadata = {"lights": _rows(side, lights), "length": solution.bit_count()}
    return Task(name, prompt, answer, difficulty, metadata)
