"""turnwise/Countdown-v0: make a target of given numbers with + - * /, each number once.

A reply is an expression of numbers that are left; its value takes their place. So one may go one operation a turn, or write the
whole solution at once. All numbers must be used: when one number is left, it is the target or it is not. `reset` brings the
first numbers back. Values that stay must be whole and not negative; within an expression they may be anything.

Every task has a solution of whole numbers by construction, and adding up all numbers is none. Levels are measured
by its operations, one fewer than the numbers:

    level  numbers  operations
      1       3         2
      2       4         3
      3       5         4
      4       6         5
      5       7         6

The expert carries the known solution on; elsewhere it searches where few numbers are left (`solve`, all ways), else it resets.
Expressions are read by the calculator of turnwise/Arithmetic-v0, exactly and without `eval`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
from typing_extensions import override

from turnwise.envs.core import Transition
from turnwise.envs.draws import Draws
from turnwise.envs.math.calculator import CalculatorError, calculate
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, answer_in, task_id
from turnwise.types import Task

__all__ = ["NUMBERS", "Countdown", "solve"]

NUMBERS = {1: 3, 2: 4, 3: 5, 4: 6, 5: 7}
"""Level -> how many numbers."""

_LARGEST, _TARGETS = 99, (100, 999)
_BOUND = 5_000
"""No value on the way to a target of ours is larger."""
_FEW = 4
"""Numbers among which the expert searches all ways: some thousand."""
_MAX_LENGTH = 200
_NUMBER = re.compile(r"[0-9]+", re.ASCII)
_PAPER: Colour = (236, 230, 216)
_TILE: Colour = (60, 100, 170)
_AIM: Colour = (190, 60, 60)
_INK: Colour = (250, 250, 250)


class Countdown(Puzzle):
    """Make the target of all the numbers; reward 1 when it is the one number left, else 0. One reply is one expression."""

    levels = range(1, len(NUMBERS) + 1)

    _numbers: tuple[int, ...] = ()
    """What is left, ascending."""
    _target: int = 0

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        draws, count = Draws(rng), NUMBERS[difficulty]
        while True:
            numbers = sorted(1 + draws.below(_LARGEST) for _ in range(count))
            steps, value = _random_steps(draws, numbers)
            if _TARGETS[0] <= value <= _TARGETS[1] and value not in numbers and value != sum(numbers):
                return _task(numbers, value, steps, difficulty)

    @override
    def turns(self, task: Task) -> int:
        """Twice the operations and 4."""
        return 2 * len(task.metadata["steps"]) + 4

    @override
    def rules(self) -> str:
        return (
            "Countdown: make the target of the numbers with + - * / and brackets, using every number once.\n"
            "Reply with an expression of some or all of the numbers that are left, for example <answer>(7 - 3) * 25</answer>: "
            "its value, which must be whole and not negative, takes their place. Reply <answer>reset</answer> to get the first "
            "numbers back."
        )

    @override
    def place(self, task: Task) -> None:
        numbers, target = tuple(sorted(task.metadata["numbers"])), task.metadata["target"]
        if not all(type(n) is int and n >= 0 for n in (*numbers, target)) or len(numbers) < 2 or not task.metadata["steps"]:
            raise ValueError("numbers and target are whole and not negative, steps lead there")
        self._numbers, self._target = numbers, target

    @override
    def board(self) -> str:
        return f"Target: {self._target}. Numbers: {' '.join(map(str, self._numbers))}."

    @override
    def cells(self) -> list[list[Cell]]:
        room = len(self.task.metadata["numbers"])
        blank: Cell = ("", _PAPER, _PAPER)
        numbers: list[Cell] = [(str(number), _TILE, _INK) for number in self._numbers]
        return [[(str(self._target), _AIM, _INK), *[blank] * (room - 1)], numbers + [blank] * (room - len(numbers))]

    @override
    def play(self, action: str) -> Transition:
        answer = (answer_in(action) or "").strip()
        if answer.lower() == "reset":
            self._numbers = tuple(sorted(self.task.metadata["numbers"]))
            return self.moved()
        if len(answer) > _MAX_LENGTH or any(sign in answer for sign in (".", "^", "**")):
            return self.refuse("Write an expression of the numbers with + - * / and brackets only, or reset.")
        used = [int(text) for text in _NUMBER.findall(answer)]
        try:
            value = calculate(answer, max_length=_MAX_LENGTH).value
        except CalculatorError as error:
            return self.refuse(f"That is no expression: {error}")
        return self._replaced(used, int(value) if value.denominator == 1 and value >= 0 else None, str(value)[:40])

    def _replaced(self, used: list[int], value: int | None, shown: str) -> Transition:
        left = list(self._numbers)
        for number in used:
            if number not in left:
                times = f"{used.count(number)} times and is there {self._numbers.count(number)} times"
                return self.moved(f"{str(number)[:40]} is used {times}.")
            left.remove(number)
        if len(used) < 2:
            return self.moved("An expression combines at least two numbers.")
        if value is None:
            return self.moved(f"{shown} is not a whole number of 0 or more.")
        self._numbers = tuple(sorted([*left, value]))
        if self._numbers == (self._target,):
            return self.moved("Solved.", solved=True)
        return self.moved(f"{value} is not {self._target}. Reset to start again." if len(self._numbers) == 1 else "")

    @override
    def expert_action(self) -> str:
        """The next operation of a solution from here; `reset` where none is known."""
        self.need_episode()
        for numbers, step in _way(self.task.metadata["numbers"], self.task.metadata["steps"]):
            if numbers == self._numbers:
                return f"<answer>{step}</answer>"
        steps = solve(self._numbers, self._target) if len(self._numbers) <= _FEW else None
        return f"<answer>{steps[0] if steps else 'reset'}</answer>"


def solve(numbers: tuple[int, ...], target: int) -> list[str] | None:
    """Operations that make the target of all the numbers, by trying all ways through whole numbers; None if there is none."""
    if len(numbers) == 1:
        return [] if numbers[0] == target else None
    for i in range(len(numbers)):
        for j in range(i):
            rest = numbers[:j] + numbers[j + 1 : i] + numbers[i + 1 :]
            for step, value in _combined(max(numbers[i], numbers[j]), min(numbers[i], numbers[j])):
                steps = solve((*rest, value), target)
                if steps is not None:
                    return [step, *steps]
    return None


def _combined(large: int, small: int) -> Iterator[tuple[str, int]]:
    yield f"{large} + {small}", large + small
    yield f"{large} * {small}", large * small
    yield f"{large} - {small}", large - small
    if small and large % small == 0:
        yield f"{large} / {small}", large // small


def _random_steps(draws: Draws, numbers: list[int]) -> tuple[list[str], int]:
    """Operations that use up the numbers, and what comes of them. No dull ones: no 0 or 1 on the way, no value over the bound."""
    left, steps = draws.shuffled(numbers), list[str]()
    while len(left) > 1:
        one, other = left.pop(), left.pop()
        small, large = sorted((one, other))
        ways = [(step, value) for step, value in _combined(large, small) if 1 < value <= _BOUND and (small > 1 or "+" in step)]
        if not ways:
            return [], 0
        step, value = draws.pick(ways)
        steps.append(step)
        left.insert(draws.below(len(left) + 1), value)
    return steps, left[0]


def _way(numbers: list[int], steps: list[str]) -> Iterator[tuple[tuple[int, ...], str]]:
    """(numbers left, next operation) from the start to the solution."""
    left = Counter(numbers)
    for step in steps:
        yield tuple(sorted(left.elements())), step
        left = left - Counter(int(text) for text in _NUMBER.findall(step)) + Counter([int(calculate(step).value)])


def _task(numbers: list[int], target: int, steps: list[str], difficulty: int) -> Task:
    """`answer`: a solution, one operation after the other."""
    prompt = f"Make {target} of {' '.join(map(str, numbers))} with + - * /, each number once."
    metadata = {"numbers": numbers, "target": target, "steps": steps}
    return Task(task_id("countdown", f"{numbers} {target}"), prompt, "; ".join(steps), difficulty, metadata)
