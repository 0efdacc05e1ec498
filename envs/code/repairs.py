"""Tasks to mend a program: a program of `turnwise.envs.code.programs` with bugs that its tests find."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from turnwise.envs.code.bugs import edits, parsed, results_of, with_bugs
from turnwise.envs.code.plain import same
from turnwise.envs.code.problem import Problem
from turnwise.envs.code.programs import Program, draw_program, problem_of, prompt_of
from turnwise.envs.core import Split, split_of
from turnwise.envs.draws import Draws
from turnwise.types import Task

__all__ = ["BUGS", "make_repair", "share_passed"]

BUGS: Mapping[int, int] = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 4}
"""Level -> bugs; the steps are those of CodeWrite."""
_TRIES = 60
"""Edits looked at for a program before another one is drawn."""


def make_repair(rng: np.random.Generator, level: int, split: Split | None = None) -> Task:
    """A random task of that level. Its split is that of the program before it was broken, so no program is in both."""
    draws = Draws(rng)
    while True:
        program = draw_program(draws, level)
        if split is not None and split_of(program.id) != split:
            continue
        problem = problem_of(program)
        sources = problem and _broken(draws, problem, BUGS[level])
        if problem and sources:
            return _task(program, problem, sources)


def share_passed(problem: Problem, source: str) -> float:
    """Of the hidden tests, by a program of ours that may have bugs."""
    results = results_of(source, problem.name, [case.given for case in (*problem.examples, *problem.tests)])
    passed = [same(r, case.expected) for r, case in zip(results[len(problem.examples) :], problem.tests, strict=True)]
    return sum(passed) / len(passed)


def _broken(draws: Draws, problem: Problem, count: int) -> list[str] | None:
    """The program with `count` bugs, with the first one mended, with the first two mended, ...; None if no bugs were found.

    Each bug alone fails a hidden test, and so does every program of the list but the last, which is right.
    """
    found = edits(parsed(problem.solution))
    chosen = list[int]()
    lines, kinds = set[int](), set[str]()
    for _ in range(_TRIES if found else 0):
        place = draws.below(len(found))
        edit = found[place]
        if edit.line in lines or edit.kind in kinds:
            continue
        if share_passed(problem, with_bugs(problem.solution, [place])) == 1.0:
            continue
        together = with_bugs(problem.solution, [place, *chosen])
        if together == with_bugs(problem.solution, chosen):
            continue  # it stands in what an earlier bug took away
        if chosen and share_passed(problem, together) == 1.0:
            continue
        chosen.insert(0, place)
        lines.add(edit.line)
        kinds.add(edit.kind)
        if len(chosen) == count:
            return [with_bugs(problem.solution, chosen[i:]) for i in range(count + 1)]
    return None


def _task(program: Program, problem: Problem, sources: Sequence[str]) -> Task:
    floor = max(problem.floor, share_passed(problem, sources[0]))
    problem = replace(problem, solution=sources[-1], floor=floor)
    bugs = len(sources) - 1
    statement = program.statement.replace("Write a Python function", "This is about a Python function", 1)
    prompt = (
        f"{prompt_of(statement, problem)}\n\nBut it was written like this, with {'a bug' if bugs == 1 else f'{bugs} bugs'} in "
        f"it. Mend it:\n```python\n{sources[0]}```"
    )
    sha = hashlib.blake2b(prompt.encode(), digest_size=8).hexdigest()
    task_id, salt, split = f"repair/{sha}", 0, split_of(program.id)
    while split_of(task_id) != split:
        salt += 1
        task_id = f"repair/{sha}.{salt}"  # the id decides the split
    metadata = {"problem": problem.as_json(), "sources": list(sources)}
    return Task(task_id, prompt, problem.solution, program.level, metadata)
