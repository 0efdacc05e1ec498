"""Environments that ask mathematical questions: made by a generator, or from a data set of the user's."""

from __future__ import annotations

from fractions import Fraction

from typing_extensions import Unpack, override

from turnwise.envs.math.answer_text import plain_text
from turnwise.envs.math.answers import grade_answer
from turnwise.envs.math.datasets import load_questions
from turnwise.envs.math.grading import grade_number, read_number
from turnwise.envs.options import ToolOptions
from turnwise.envs.question_files import DataSplit, FileQuestions, Questions

__all__ = ["QuestionEnv", "QuestionOptions"]


class QuestionOptions(ToolOptions, total=False):
    """What every QuestionEnv takes."""

    data: str | None
    data_split: DataSplit


class QuestionEnv(FileQuestions):
    """A ToolEnv whose tasks have a number as their answer, or come from a data set (`metadata["data"]`) and have any answer."""

    def __init__(
        self,
        *,
        data: str | None = None,
        data_split: DataSplit = "auto",
        **options: Unpack[ToolOptions],
    ) -> None:
        """`data` is a path for `load_questions`, and `data_split` its split."""
        super().__init__(**options)
        self.questions = None if data is None else Questions(data, load_questions(data, split=data_split))
        self.level_of_data = options.get("difficulty")

    @override
    def grade(self, answer: str) -> float:
        return self.graded(answer, self.task.prompt, self.task.answer)

    def graded(self, answer: str, question: str, truth: str) -> float:
        """1.0 if `answer` is the right one to a question of this task, whose answer is `truth`, else 0.0."""
        if "data" not in self.task.metadata:
            return grade_number(answer, Fraction(truth))
        return float(grade_answer(answer, truth) == 1.0 and not _echoes(answer, question, truth))


def _echoes(answer: str, question: str, truth: str) -> bool:
    """Whether the answer only repeats an expression of the question, which is no answer to "simplify" or "expand"."""
    said, right = plain_text(answer), plain_text(truth)
    return said != right and read_number(said) is None and len(said) > 2 and said in plain_text(question)
