"""turnwise/RandomCalculation-v0: fresh arithmetic of any length, worked out in the head, every step checked.

No tool calculates here (Arithmetic has one): the agent writes the expression anew with some of its operations carried out, and
is told whether it still has the same value. So a mistake is found in the turn that made it, and each turn can earn its own
reward. Nobody has seen these expressions: there are some 10^7 at level 1, and more than 10^12 from level 4 on.

    <step>7 + 12 * 3</step>     at least one operation carried out; right, wrong, or no step
    <answer>43</answer>         ends the episode: reward 1 for the right number, else 0

`progress` adds up to that much for right steps, in proportion to the operations they carry out; it is part of the reward named
"progress", and never more than 1. `checked=False` is the plain task: the answer at once, no steps.

Turns of the expert, one operation per step, and turn limits (measured: 200 train and 200 test tasks a level; always exactly
these):

    level  operations  literals                              expert turns  turn limit
      1        2       integers to 99                              2            7
      2        3       integers to 50                              3            9
      3        4       integers to 50, squares and cubes           4           11
      4        6       the same                                    6           15
      5        9       the same, fractions                         9           21
      6       13       the same, decimals                         13           29
      7       20       the same                                   20           43
      8       30       the same                                   30           63

A step is as slow as it is long, for the whole expression is calculated exactly: some 50,000 steps a CPU second at level 4, where
it has up to 6 operations, and 18,000 at level 8, where it has up to 30.

Idea: RandomCalculation of Wu et al. 2025 (arXiv 2507.10532), arithmetic of controlled length as a test that memory cannot pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Transition
from turnwise.envs.draws import Draws
from turnwise.envs.math.arithmetic_problem import Level, Tree, build_tree, text_of, value_of
from turnwise.envs.math.calculator import CalculatorError, calculate, show
from turnwise.envs.math.grading import grade_number, read_number
from turnwise.envs.options import ToolOptions
from turnwise.envs.tool_env import ToolEnv
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["LEVELS", "RandomCalculation", "make_calculation"]

LEVELS: dict[int, Level] = {
    1: Level(2, 2, largest=99),
    2: Level(3, 3),
    3: Level(4, 3, "+-*^"),
    4: Level(6, 4, "+-*^"),
    5: Level(9, 5, "+-*^", fractions=0.2),
    6: Level(13, 6, "+-*^", fractions=0.2, decimals=True),
    7: Level(20, 7, "+-*^", fractions=0.2, decimals=True),
    8: Level(30, 8, "+-*^", fractions=0.2, decimals=True),
}
MAX_OPERATIONS = 500
MAX_LENGTH = 20_000
"""Characters of a step."""
_OPEN, _CLOSE = "<step>", "</step>"


class RandomCalculation(ToolEnv):
    """Arithmetic without a calculator, in checked steps; reward 1 for the right number, else 0. See the module for the levels.

    operations: overrides what the level says, for expressions of any length (1 to 500).
    checked: whether steps are allowed; without them only the answer counts.
    progress: what all right steps together earn (0 to 1), in proportion to the operations carried out.
    """

    levels = range(1, len(LEVELS) + 1)

    def __init__(
        self,
        *,
        operations: int | None = None,
        checked: bool = True,
        progress: float = 0.0,
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(**options)
        if operations is not None and not 1 <= operations <= MAX_OPERATIONS:
            raise ConfigError(f"RandomCalculation: operations must be from 1 to {MAX_OPERATIONS}, got {operations}.")
        self.checked, self.progress = checked, self._share("progress", progress)
        self._operations = operations
        self.left = 0
        """Operations of the last right expression."""
        self._right = Fraction(0)

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return make_calculation(rng, difficulty, self._operations)

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * task.metadata["operations"] + 3 if self.checked else 3

    @override
    def begin(self, task: Task) -> str:
        self.left, self._right = task.metadata["operations"], Fraction(task.answer)
        return super().begin(task)

    @override
    def rules(self) -> str:
        final = f"{self.format.final('...')} with the exact number"
        if not self.checked:
            return f"Reply {final}, an integer or a fraction."
        return (
            f"Work in steps: reply {_OPEN}...{_CLOSE} with the whole expression after at least one of its operations is carried "
            f"out, and you are told whether it still has the same value. At the end reply {final}, an integer or a fraction."
        )

    @override
    def play(self, action: str) -> Transition:
        parsed = self.format.parse(action)
        if parsed.answer is not None:
            transition = self._answer(parsed.answer)
        elif not self.checked:
            transition = self.refuse(parsed.error or "There are no tools here; give the answer.")
        else:
            transition = self._step(_step_in(action))
        self._transcript += [f"> {action}", transition.observation]
        return transition

    def _step(self, text: str) -> Transition:
        try:
            result = calculate(text, max_length=MAX_LENGTH)
        except CalculatorError as error:
            return self.refuse(f"That is neither an answer nor a step, because {error}")
        if result.operations < 2 and "^" not in text and "**" not in text and read_number(text) is not None:
            return self.refuse(f"A single number is an answer: reply {self.format.final('...')}.")
        if result.operations >= self.left:
            return Transition(f"That is no step: {_operations(result.operations)}, and there were {self.left} left.")
        if result.value != self._right:
            return Transition("Wrong: that does not have the same value. Go on from the last right expression.")
        gain = self.progress * (self.left - result.operations) / self.task.metadata["operations"]
        self.left = result.operations
        return Transition(f"Right. {_operations(self.left)} left.", gain, terms={"progress": gain} if self.progress else {})

    @override
    def grade(self, answer: str) -> float:
        return grade_number(answer, self._right)

    @override
    def expert_action(self) -> str:
        """The longest expression on the way that is shorter than the last right one, or the answer."""
        if self.checked and self.left > 1:
            for operations, text in _way(self.task.metadata["tree"]):
                if 0 < operations < self.left:
                    return f"{_OPEN}{text}{_CLOSE}"
        return self.format.final(self.task.answer)


def make_calculation(rng: np.random.Generator, difficulty: int, operations: int | None = None) -> Task:
    """A random task of that level, or of that many operations."""
    level = LEVELS[difficulty]
    if operations is not None:
        level = replace(level, operations=operations, depth=operations.bit_length() + 2)
    tree, value = build_tree(Draws(rng), level)
    text = text_of(tree, spaced=True)
    name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    metadata = {"tree": tree, "operations": level.operations}
    return Task(f"calculation/{name}", f"Calculate {text} exactly.", show(value), difficulty, metadata)


def _operations(count: int) -> str:
    return f"{count} operation{'s' * (count != 1)}"


def _step_in(action: str) -> str:
    """What stands in the last step tags, or the whole reply: a person need not type tags."""
    start = action.rfind(_OPEN)
    end = action.find(_CLOSE, start)
    return action[start + len(_OPEN) : end] if 0 <= start < end else action


def _way(tree: Tree) -> Iterator[tuple[int, str]]:
    """(operations, text) of the expression after each operation, innermost and left first."""
    left = calculate(text_of(tree, spaced=True), max_length=MAX_LENGTH).operations
    while left > 1:
        tree = _reduced(tree)
        left -= 1
        yield left, text_of(tree, spaced=True)


def _reduced(tree: Tree) -> Tree:
    """The tree with its first operation on two numbers carried out."""
    if isinstance(tree, str):
        return tree
    operator, left, right = tree
    if not isinstance(left, str):
        return [operator, _reduced(left), right]
    if not isinstance(right, str):
        return [operator, left, _reduced(right)]
    return str(value_of(tree))
