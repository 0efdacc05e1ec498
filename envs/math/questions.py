"""Questions of a data set inside an environment: drawn by split and level, graded as mathematics, not to be echoed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from turnwise.envs.core import Split, split_of
from turnwise.envs.math.answer_text import plain_text
from turnwise.envs.math.answers import grade_answer
from turnwise.envs.math.datasets import DataSplit, load_questions
from turnwise.envs.math.grading import read_number
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["Questions", "grade_question"]


class Questions:
    """The questions of a file or folder (`load_questions`). Forks share them."""

    def __init__(self, path: str | Path, split: DataSplit = "auto") -> None:
        self.path = str(path)
        self._all: tuple[Task, ...] = tuple(load_questions(path, split=split))
        self._found: dict[tuple[Split, int | None], Sequence[Task]] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> Questions:
        return self

    def draw(self, rng: np.random.Generator, split: Split, level: int | None) -> Task:
        """One of the questions of that split, of that level or of any. Raises ConfigError where there are none."""
        found = self._found.get((split, level))
        if found is None:
            found = [t for t in self._all if split_of(t.id) == split and level in (None, t.difficulty)]
            self._found[split, level] = found
        if not found:
            of_level = "" if level is None else f" of level {level}"
            raise ConfigError(
                f"{self.path}: no {split} question{of_level} among its {len(self._all)}; "
                f"put all of them there with data_split={split!r}, or ask for another split or level."
            )
        return found[int(rng.integers(len(found)))]


def grade_question(answer: str, task: Task) -> float:
    """1.0 if the answer is right and no mere echo: an expression that stands in the question does not answer "simplify"."""
    if not grade_answer(answer, task.answer):
        return 0.0
    said, right = plain_text(answer), plain_text(task.answer)
    echo = said != right and read_number(said) is None and len(said) > 2 and said in plain_text(task.prompt)
    return float(not echo)
