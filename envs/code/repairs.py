"""Tasks to mend a program: a program of `turnwise.envs.code.programs` with bugs that its tests find."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from turnwise.envs.code.bugs import Bug, bugs_of, runner_of, with_bugs
from turnwise.envs.code.plain import same
from turnwise.envs.code.problem import Problem
from turnwise.envs.code.programs import Program, draw_program, problem_of, prompt_of
from turnwise.envs.core import Split, split_of
from turnwise.envs.draws import Draws
from turnwise.types import Task

__all__ = ["BUGS", "STEPS", "make_repair", "share_passed"]

STEPS: Mapping[int, int] = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 8}
"""Level -> steps of the function."""
BUGS: Mapping[int, int] = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 4}
"""Level -> bugs."""
_DYNAMIC_FROM = 3
"""From this level on a last step of dynamic programming is taken wherever there is one."""
_FLOOR = 0.4
"""The largest share of the hidden tests that a constant or the unchanged argument may pass."""
_TRIES = 60
"""Edits looked at for a program before another one is drawn."""


def make_repair(rng: np.random.Generator, level: int, split: Split | None = None) -> Task:
    """A random task of that level. Its split is that of the program before it was broken, so no program is in both.

    This is a search: for bugs that the tests find, all together and each alone.
    """
    draws = Draws(rng)
    while True:
        program = draw_program(draws, STEPS[level], dynamic=level >= _DYNAMIC_FROM)
        if split is not None and split_of(_id_of(program)) != split:
            continue
        problem = problem_of(program.as_json())
        if problem.floor > _FLOOR or len({repr(case.expected) for case in problem.examples}) < 2:
            continue
        sources = _broken(draws, problem, BUGS[level])
        if sources:
            return _task(program, problem, sources, level)


def share_passed(problem: Problem, source: str) -> float:
    """Of the hidden tests, by a program of ours that may have bugs."""
    return sum(_passes(problem, source, ())) / len(problem.tests)


def _passes(problem: Problem, source: str, bugs: Sequence[Bug]) -> Iterator[bool]:
    """For each hidden test whether a program with those bugs passes it. A bug may lie in what the calls before left behind."""
    run = runner_of(source, bugs, problem.name)
    for case in problem.examples:
        run(case.given)
    return (same(run(case.given), case.expected) for case in problem.tests)


def _broken(draws: Draws, problem: Problem, count: int) -> list[str] | None:
    """The program with `count` bugs, with the first one mended, with the first two mended, ...; None if no bugs were found.

    Each bug alone fails a hidden test, and so does every program of the list but the last, which is right.
    """
    source = problem.solution
    found, chosen = bugs_of(source), list[Bug]()
    for _ in range(_TRIES if found else 0):
        bug = draws.pick(found)
        if any(bug.line == other.line or bug.kind == other.kind for other in chosen):
            continue
        if all(_passes(problem, source, [bug])) or (chosen and all(_passes(problem, source, [bug, *chosen]))):
            continue
        if with_bugs(source, [bug, *chosen]) == with_bugs(source, chosen):
            continue  # it stands in what an earlier bug took away
        chosen.insert(0, bug)
        if len(chosen) == count:
            return [with_bugs(source, chosen[i:]) for i in range(count + 1)]
    return None


def _id_of(program: Program) -> str:
    return f"code/{hashlib.blake2b(program.statement.encode(), digest_size=8).hexdigest()}"


def _task(program: Program, problem: Problem, sources: Sequence[str], level: int) -> Task:
    floor = max(problem.floor, share_passed(problem, sources[0]))
    problem = replace(problem, solution=sources[-1], floor=floor)
    bugs = len(sources) - 1
    statement = program.statement.replace("Write a Python function", "This is about a Python function", 1)
    asked = prompt_of(statement, problem.name, problem.examples)
    count = "a bug" if bugs == 1 else f"{bugs} bugs"
    prompt = f"{asked}\n\nBut it was written like this, with {count} in it. Mend it:\n```python\n{sources[0]}```"
    sha = hashlib.blake2b(prompt.encode(), digest_size=8).hexdigest()
    task_id, salt, split = f"repair/{sha}", 0, split_of(_id_of(program))
    while split_of(task_id) != split:
        salt += 1
        task_id = f"repair/{sha}.{salt}"  # the id decides the split
    metadata = {"problem": problem.as_json(), "sources": list(sources)}
    return Task(task_id, prompt, problem.solution, level, metadata)
