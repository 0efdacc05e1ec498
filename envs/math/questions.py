"""Environments that ask mathematical questions: made by a generator, or from a data set of the user's."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from typing_extensions import override

from turnwise.envs.core import Split
from turnwise.envs.math.answer_text import plain_text
from turnwise.envs.math.answers import grade_answer
from turnwise.envs.math.datasets import load_questions
from turnwise.envs.math.grading import grade_number, read_number
from turnwise.envs.question_files import DataSplit, Questions
from turnwise.envs.tool_env import ToolEnv
from turnwise.types import Task

__all__ = ["QuestionEnv"]


class QuestionEnv(ToolEnv):
    """A ToolEnv whose tasks have a number as their answer, or come from a data set (`metadata["data"]`) and have any answer."""

    def __init__(
        self,
        *,
        split: Split = "train",
        difficulty: int | None = None,
        max_turns: int | None = None,
        render_mode: str | None = None,
        action_format: str = "hermes",
        instructions: bool = True,
        data: str | None = None,
        data_split: DataSplit = "auto",
    ) -> None:
        """`data` is a path for `load_questions`, and `data_split` its split."""
        super().__init__(
            split=split,
            difficulty=difficulty,
            max_turns=max_turns,
            render_mode=render_mode,
            action_format=action_format,
            instructions=instructions,
        )
        self.questions = None if data is None else Questions(data, load_questions(data, split=data_split))
        self._level_of_data = difficulty

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        if self.questions is None:
            return super().sample_task(rng, split, difficulty)
        return self.questions.draw(rng, split, self._level_of_data)

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Questions of a data set come from all levels, unless one is asked for here or was in the constructor."""
        asked, before = (options or {}).get("difficulty"), self._level_of_data
        self._level_of_data = before if asked is None else asked
        try:
            return super().reset(seed=seed, options=options)
        finally:
            self._level_of_data = before

    @override
    def grade(self, answer: str) -> float:
        task = self.task
        if "data" not in task.metadata:
            return grade_number(answer, Fraction(task.answer))
        return float(grade_answer(answer, task.answer) == 1.0 and not _echoes(answer, task))


def _echoes(answer: str, task: Task) -> bool:
    """Whether the answer only repeats an expression of the question, which is no answer to "simplify" or "expand"."""
    said, right = plain_text(answer), plain_text(task.answer)
    return said != right and read_number(said) is None and len(said) > 2 and said in plain_text(task.prompt)
