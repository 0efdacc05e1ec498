"""turnwise/Arithmetic-v0: exact arithmetic of any length and nesting, with a calculator that does one operation per call.

The limit makes it a task of several turns: an expression has to be taken apart from the inside, and every result carried over
into the next call. The answer is a number in any final form (`turnwise.envs.math.grading`); the expression itself, or what is
left of it, is not one.

Turns of the expert at one operation per call and turn limits (measured: 200 train and 200 test tasks a level; always exactly
these, but where two operations of a long problem happen to be the same, one call does):

    level  operations  nesting  operators   literals                        expert turns  turn limit
      1        2          2     + - *       integers to 99                       3             7
      2        3          3     + - *       integers to 50                       4             9
      3        4          3     + - *       integers to 50                       5            11
      4        5          4     + - * /     integers to 50                       6            13
      5        6          4     + - * /     integers, fractions                  7            15
      6        8          5     + - * / ^   integers, fractions, decimals        9            19
      7       12          6     + - * / ^   integers, fractions, decimals       13            27

A step parses the call, checks its arguments and calculates exactly: 67,000 to 138,000 steps a CPU second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.draws import Draws
from turnwise.envs.math.arithmetic_problem import (
    LEVELS,
    Level,
    Step,
    Tree,
    build_tree,
    plan,
    reading_order,
    step_text,
    text_of,
)
from turnwise.envs.math.calculator import CalculatorError, calculate, show
from turnwise.envs.math.grading import grade_number
from turnwise.envs.options import ToolOptions
from turnwise.envs.tool_env import ToolEnv
from turnwise.envs.tools import tool
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Task

__all__ = ["HABITS", "Arithmetic", "make_arithmetic", "novice_action"]

Style = Literal["plain", "terse"]
STYLES = ("plain", "terse")
MAX_OPERATIONS, MAX_NESTING = 200, 40


class Arithmetic(ToolEnv):
    """Exact arithmetic with a calculator; reward 1 for the right number, else 0. See the module for the levels.

    operations_per_call: how much one call of the calculator may do.
    operations, nesting: override what the level says, for problems of any length (1 to 200) and depth (1 to 40).
    style: "terse" gives the bare expression without spaces, for tiny models.
    """

    levels = range(1, len(LEVELS) + 1)

    def __init__(
        self,
        *,
        style: Style = "plain",
        operations_per_call: int = 1,
        operations: int | None = None,
        nesting: int | None = None,
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(**options)
        if style not in STYLES:
            raise UnknownName("style of Arithmetic", str(style), STYLES)
        if operations_per_call < 1:
            raise ConfigError(f"Arithmetic: operations_per_call must be at least 1, got {operations_per_call}.")
        self.style: Style = style
        self.operations_per_call = operations_per_call
        self._operations, self._nesting = operations, nesting
        for level in LEVELS.values():
            _overridden(level, operations, nesting)
        self.results: tuple[tuple[str, str], ...] = ()
        """(expression without spaces, value) of every successful call of the episode, in order."""
        self._right = Fraction(0)
        self.habit = ""
        """What `novice_action` drew for this episode; of no consequence for the environment."""

    @tool
    def calculator(self, expression: str) -> str:
        """Calculate an expression exactly: + - * / ^ and brackets, such as 3/4 + 2. The result is an integer or a fraction."""
        try:
            result = calculate(expression)
        except CalculatorError as error:
            return f"Error: {error}"
        if result.operations > self.operations_per_call:
            return f"Error: at most {_count(self.operations_per_call)} per call, this has {result.operations}; go step by step."
        value = show(result.value)
        self.results = (*self.results, ("".join(expression.split()), value))
        return value

    toolset = (calculator,)

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        level = _overridden(LEVELS[difficulty], self._operations, self._nesting)
        return make_arithmetic(rng, difficulty, level, self.style)

    @override
    def question(self, task: Task) -> str:
        limit = f" The calculator does at most {_count(self.operations_per_call)} per call."
        return task.prompt + (limit if self.instructions else "")

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * len(reading_order(task.metadata["tree"])[1]) + 3

    @override
    def begin(self, task: Task) -> str:
        self.results, self.habit, self._right = (), "", Fraction(task.answer)
        return super().begin(task)

    @override
    def grade(self, answer: str) -> float:
        return grade_number(answer, self._right)

    @override
    def expert_action(self) -> str:
        """The innermost calculation that has not been made yet, or the answer."""
        done = {expression for expression, _ in self.results}
        for expression in plan(self.task.metadata["tree"], self.operations_per_call):
            if expression not in done:
                return self.format.call("calculator", {"expression": expression})
        return self.format.final(self.task.answer)


def make_arithmetic(rng: np.random.Generator, difficulty: int, level: Level | None = None, style: Style = "plain") -> Task:
    """A random task of that level; `level` overrides what the level says."""
    tree, value = build_tree(Draws(rng), level or LEVELS[difficulty])
    text = text_of(tree, spaced=style == "plain")
    name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    prompt = f"Calculate {text} exactly." if style == "plain" else text
    return Task(f"arithmetic/{style}/{name}", prompt, show(value), difficulty, {"tree": tree})


def _count(operations: int) -> str:
    return "one operation" if operations == 1 else f"{operations} operations"


def _overridden(level: Level, operations: int | None, nesting: int | None) -> Level:
    if operations is not None and not 1 <= operations <= MAX_OPERATIONS:
        raise ConfigError(f"Arithmetic: operations must be from 1 to {MAX_OPERATIONS}, got {operations}.")
    count = level.operations if operations is None else operations
    least = count.bit_length()
    depth = nesting if nesting is not None else max(least, level.depth) if operations is None else least + 2
    if not least <= depth <= MAX_NESTING:
        raise ConfigError(f"Arithmetic: {count} operations need a nesting from {least} to {MAX_NESTING}, got {depth}.")
    return replace(level, operations=count, depth=depth)


HABITS: Mapping[str, float] = {"right": 0.3, "order": 0.2, "early": 0.25, "slip": 0.25}
"""How often a novice works in which way (see `novice_action`)."""


def novice_action(env: Arithmetic, rng: np.random.Generator, habits: Mapping[str, float] = HABITS) -> str:
    """The next action of somebody who has understood the tool but not the task: demonstrations of mixed quality.

    Source of warm-start data (see the same function of `turnwise.envs.search.lookup`). One habit is drawn at the first turn of an
    episode and kept in `env.habit`; whichever it is, a novice calculates one operation per call:

        right  innermost first, as the expert does
        order  from left to right, without regard to brackets and precedence
        early  gives an intermediate result as the answer
        slip   takes a wrong operator once and goes on from there
    """
    tree: Tree = env.task.metadata["tree"]
    if env.turn == 0 or not env.habit:
        names = list(habits)
        weights = np.array([habits[name] for name in names], float)
        env.habit = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        if env.habit == "order" and _left_to_right(tree) == env.task.answer:
            env.habit = "slip"  # reading from the left happens to be right
    results = [value for _, value in env.results]
    step = _next_in_reading(tree, results) if env.habit == "order" else _next_inside(tree, list(results))
    if isinstance(step, str):
        return env.format.final(step)
    left = len(reading_order(tree)[1]) - len(results)
    now = rng.random() < 1 / left if left > 1 else True
    if env.habit == "early" and results and now:
        return env.format.final(results[-1])
    if env.habit == "slip" and now and [expression for expression, _ in env.results] == _by_one(tree)[: len(results)]:
        others = [operator for operator in "+-*" if operator != step[0]]
        step = (others[int(rng.integers(len(others)))], *step[1:])
    try:
        calculate(step_text(step))
    except CalculatorError:
        return env.format.final(step[1])  # a wrong way can end in a division by zero
    return env.format.call("calculator", {"expression": step_text(step)})


def _by_one(tree: Tree) -> list[str]:
    """Every operation in the order of `_next_inside`, with the right values."""
    results: list[str] = []
    calls: list[str] = []
    while not isinstance(step := _next_inside(tree, list(results)), str):
        calls.append(step_text(step))
        results.append(show(calculate(calls[-1]).value))
    return calls


def _next_inside(tree: Tree, results: list[str]) -> Step | str:
    """The first operation, innermost and left first, that `results` has no value for; the value where there is none."""
    if isinstance(tree, str):
        return tree
    left = _next_inside(tree[1], results)
    if not isinstance(left, str):
        return left
    right = _next_inside(tree[2], results)
    if not isinstance(right, str):
        return right
    return results.pop(0) if results else (tree[0], left, right)


def _next_in_reading(tree: Tree, results: Sequence[str]) -> Step | str:
    """The next operation of somebody who calculates from left to right."""
    leaves, operators = reading_order(tree)
    so_far = results[-1] if results else leaves[0]
    done = len(results)
    return so_far if done >= len(operators) else (operators[done], so_far, leaves[done + 1])


def _left_to_right(tree: Tree) -> str:
    results: list[str] = []
    try:
        while not isinstance(step := _next_in_reading(tree, results), str):
            results.append(show(calculate(step_text(step)).value))
    except CalculatorError:
        return ""
    return step
