"""Tasks to write a program part by part: functions of which each calls the one before it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from turnwise.envs.code.guest import encode
from turnwise.envs.code.problem import Case
from turnwise.envs.code.programs import Program, draw_program, examples_for, prompt_of
from turnwise.envs.code.reference import function_of
from turnwise.envs.core import Split, split_of
from turnwise.envs.draws import Draws
from turnwise.types import Task

__all__ = ["PARTS", "make_task", "part_prompt"]

PARTS: Mapping[int, Sequence[int]] = {
    1: (2,),
    2: (2, 1),
    3: (3, 1, 1),
    4: (3, 2, 1, 1),
    5: (3, 2, 1, 1, 1),
    6: (3, 2, 2, 1, 1, 1),
}
"""Level -> steps of each part; each but the first has one more, which calls the part before."""
_DYNAMIC_FROM = 3
"""From this level on the first part ends with a step of dynamic programming, wherever there is one."""


def make_task(rng: np.random.Generator, level: int, split: Split | None = None) -> Task:
    """A random task of that level and split (None: either). Its split is that of its first part, so no first part is in both.

    Its hidden tests are no part of it: they follow from `metadata["parts"]` (`turnwise.envs.code.programs.problem_of`).
    """
    draws = Draws(rng)
    parts, known, shown = list[Program](), dict[str, Callable[[Any], Any]](), list[tuple[Any, Any]]()
    while len(parts) < len(PARTS[level]):
        first = not parts
        part = draw_program(draws, PARTS[level][len(parts)], dynamic=first and level >= _DYNAMIC_FROM, before=parts)
        if first and split not in (None, split_of(_id_of([part]))):
            continue
        function = function_of(part.steps, known)
        results = [(value, function(value)) for _, value in examples_for(part)]
        if len({repr(result) for _, result in results}) < 3:
            continue  # what is mostly the same is soon guessed
        parts.append(part)
        known[part.name] = function
        shown = shown or results
    cases = [Case([encode(value)], encode(result)) for value, result in shown]
    prompt = part_prompt([part.name for part in parts], 0, prompt_of(parts[0].statement, parts[0].name, cases))
    answer = "\n\n".join(part.source for part in parts)
    return Task(_task_id(parts), prompt, answer, level, {"parts": [part.as_json() for part in parts]})


def part_prompt(names: Sequence[str], number: int, prompt: str) -> str:
    """What is said of a part (`number` from 0) of functions with those names; the only one needs no words."""
    if len(names) == 1:
        return prompt
    if number:
        before = ", ".join(f"`{name}`" for name in names[:number])
        about = f"Before your code stands what passed so far: {before}."
    else:
        about = f"A program of {len(names)} functions is to be written, one after the other, each with attempts of its own."
    return f"Part {number + 1} of {len(names)}. {about}\n\n{prompt}"


def _id_of(parts: Sequence[Program]) -> str:
    statements = "\n\n".join(part.statement for part in parts)
    return f"code/{hashlib.blake2b(statements.encode(), digest_size=8).hexdigest()}"


def _task_id(parts: Sequence[Program]) -> str:
    """An id that falls into the split of the first part."""
    found, salt, split = _id_of(parts), 0, split_of(_id_of(parts[:1]))
    task_id = found
    while split_of(task_id) != split:
        salt += 1
        task_id = f"{found}.{salt}"
    return task_id
