"""Programming tasks nobody has seen: programs of several steps, in English, in Python, and with tests."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from turnwise.envs.code import steps_dynamic, steps_grids, steps_numbers, steps_text
from turnwise.envs.code.guest import encode
from turnwise.envs.code.inputs import ARGUMENTS, inputs_of
from turnwise.envs.code.plain import same, show
from turnwise.envs.code.problem import Case, Problem
from turnwise.envs.code.step import IN, OUT, Kind, Params, Step, Template
from turnwise.envs.core import Split, split_of
from turnwise.envs.draws import Draws
from turnwise.types import Task

__all__ = ["LEVELS", "POOLS", "Program", "draw_program", "make_task", "problem_of", "prompt_of", "run_program"]

LEVELS: Mapping[int, int] = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 8}
"""Level -> steps."""
POOLS: Mapping[Kind, Sequence[Template]] = {
    "numbers": (*steps_numbers.TEMPLATES, *steps_dynamic.NUMBERS),
    "text": (*steps_text.TEXT, *steps_dynamic.TEXT),
    "words": steps_text.WORDS,
    "table": steps_text.TABLE,
    "grid": (*steps_grids.GRID, *steps_dynamic.GRID),
    "graph": steps_grids.GRAPH,
}
"""Kind of value -> the steps that take it."""
_DYNAMIC = frozenset((*steps_dynamic.NUMBERS, *steps_dynamic.TEXT, *steps_dynamic.GRID))
_DYNAMIC_FROM = 3
"""From this level on a last step of dynamic programming is taken wherever there is one."""
_VARIANTS = 1_000_000
"""Programs that the choices after the templates must have been able to make, so that hardly ever two tasks are equal."""
_COMMONEST = 0.4
"""The largest share of the hidden tests that may have the same right answer."""
_VERBS = ("make", "build", "derive", "work_out", "prepare", "compute", "produce", "assemble", "shape", "form")
_NOUNS = (
    "digest",
    "ledger",
    "series",
    "outcome",
    "profile",
    "figure",
    "record",
    "pattern",
    "report",
    "signal",
    "tally",
    "result",
)


@dataclass(frozen=True, slots=True)
class Program:
    """A function, before it has tests."""

    name: str
    kind: Kind
    """Of its one argument."""
    steps: tuple[Step, ...]
    level: int

    @property
    def argument(self) -> str:
        return ARGUMENTS[self.kind][0]

    @property
    def statement(self) -> str:
        """What is asked for, without examples. It is everything that makes the task, so the task's id is a hash of it."""
        steps = "\n".join(f"{i}. {step.text}" for i, step in enumerate(self.steps, 1))
        return (
            f"Write a Python function `{self.name}({self.argument})`.\n\n`{self.argument}` {ARGUMENTS[self.kind][1]}. The "
            f"function does these steps, each with the result of the one before, and returns the result of the last:\n{steps}\n"
            "Here % and // are Python's, so x % m is never negative for m > 0."
        )

    @property
    def source(self) -> str:
        """The solution."""
        lines, value, used = [f"def {self.name}({self.argument}):"], self.argument, {self.argument}
        for step in self.steps:
            name = step.name if step.name not in used else f"{step.name}{sum(u.startswith(step.name) for u in used) + 1}"
            code = step.code.replace(IN, value).replace(OUT, name)
            lines += [f"    {line}" for line in code.split("\n")]
            used.add(name)
            value = name
        return "\n".join([*lines, f"    return {value}\n"])

    @property
    def id(self) -> str:
        return f"code/{hashlib.blake2b(self.statement.encode(), digest_size=8).hexdigest()}"


def draw_program(draws: Draws, level: int) -> Program:
    """A random program of that level."""
    count = LEVELS[level]
    while True:
        params = Params(draws)
        name = f"{draws.pick(_VERBS)}_{draws.pick(_NOUNS)}"
        kind: Kind = draws.pick(tuple(ARGUMENTS))
        steps, value = list[Step](), kind
        for index in range(count):
            step = _draw_step(params, draws, value, steps, last=index == count - 1, level=level)
            if step is None:
                break
            steps.append(step)
            value = step.out
        if len(steps) == count and params.variants >= _VARIANTS:
            return Program(name, kind, tuple(steps), level)


def _draw_step(params: Params, draws: Draws, value: Kind, before: Sequence[Step], *, last: bool, level: int) -> Step | None:
    """A step that makes something of `value` and undoes nothing of the step before; None if none was found soon."""
    pool = POOLS[value]
    hard = [template for template in pool if template in _DYNAMIC] if last and level >= _DYNAMIC_FROM else []
    for _ in range(20):
        step = draws.pick(hard or pool)(params)
        if not last and step.out == "number":
            continue
        if before and (before[-1].name == step.name or (before[-1].reorders and step.forgets_order)):
            continue
        if any(step.text == earlier.text for earlier in before):
            continue
        return step
    return None


def run_program(source: str, name: str, values: Sequence[Any]) -> list[Any]:
    """The results of a solution of ours, which is trusted and runs right here."""
    names: dict[str, Any] = {}
    exec(compile(source, "<reference>", "exec"), names)
    return [names[name](value) for value in values]


def problem_of(program: Program) -> Problem | None:
    """The program with its tests, by nothing but its statement; None if too many of the right answers are the same."""
    seed = int.from_bytes(hashlib.blake2b(program.statement.encode(), digest_size=8).digest(), "big")
    examples, hidden = inputs_of(program.kind, Draws(np.random.default_rng(seed)))
    source = program.source
    results = [encode(r) for r in run_program(source, program.name, [value for _, value in (*examples, *hidden)])]
    shown, right = results[: len(examples)], results[len(examples) :]
    commonest = max(Counter(map(repr, right)).values()) / len(right)
    if commonest > _COMMONEST or len(set(map(repr, shown))) < 2:
        return None
    given = [encode(value) for _, value in hidden]
    unchanged = sum(same(value, result) for value, result in zip(given, right, strict=True)) / len(right)
    return Problem(
        "calls",
        program.name,
        tuple(Case([encode(value)], result, label) for (label, value), result in zip(examples, shown, strict=True)),
        tuple(Case([value], result, label) for value, result, (label, _) in zip(given, right, hidden, strict=True)),
        floor=max(commonest, unchanged),
        solution=source,
    )


def prompt_of(statement: str, problem: Problem) -> str:
    """A statement with its examples."""
    lines = [f"{problem.name}({show(case.given[0], 1000)}) == {show(case.expected, 1000)}" for case in problem.examples]
    return "\n".join([statement, "", "Examples:", *lines])


def make_task(rng: np.random.Generator, level: int, split: Split | None = None) -> Task:
    """A random task of that level and split (None: either)."""
    draws = Draws(rng)
    while True:
        program = draw_program(draws, level)
        if split is not None and split_of(program.id) != split:
            continue
        problem = problem_of(program)
        if problem is not None:
            prompt = prompt_of(program.statement, problem)
            return Task(program.id, prompt, problem.solution, level, {"problem": problem.as_json()})
