"""CodeEnv: an environment whose agent submits Python code, is told which tests failed, and may try again.

A task may have several parts, one `Problem` each: the next one is asked for when all tests of the one before have passed, and the
code that passed stands before that of the parts after it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from typing_extensions import Unpack, override

from turnwise.envs.actions import final_answer
from turnwise.envs.code.feedback import feedback
from turnwise.envs.code.judge import Judge, Verdict
from turnwise.envs.code.problem import Problem
from turnwise.envs.core import Transition, TurnEnv
from turnwise.envs.options import ToolOptions
from turnwise.envs.question_files import FileQuestions
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["CodeEnv", "code_of"]

_FENCE = re.compile(r"```[A-Za-z0-9_+-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\n?```)", re.DOTALL)


def code_of(reply: str, name: str) -> str:
    """The code that a reply submits; "" where there is none.

    It stands in <answer>...</answer>, with or without a Markdown fence, or in a fenced block alone; of several blocks the last
    one that speaks of `name` counts, else the last.
    """
    answer = final_answer(reply)
    blocks = [block.group(1) for block in _FENCE.finditer(reply if answer is None else answer)]
    named = [block for block in blocks if name in block]
    return (named or blocks or ["" if answer is None else answer])[-1].strip("\n")


class CodeEnv(FileQuestions):
    """Attempts at the problems of a task, one after the other; the first right one for the last problem ends the episode.

    A subclass whose tasks do not have their one problem in `metadata["problem"]` says where they are: `parts_of`, `problem_at`,
    `text_at`.
    """

    metadata = {**TurnEnv.metadata, "inline": False}  # noqa: RUF012  (Gymnasium's)

    def __init__(
        self,
        *,
        attempts: int = 4,
        progress: float = 0.3,
        profile: str = "python",
        needs: str = "namespaces",
        wall_s: float = 10.0,
        test_s: float = 1.0,
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(**options)
        name = type(self).__name__
        if isinstance(attempts, bool) or attempts < 1:
            raise ConfigError(f"{name}: attempts must be at least 1, got {attempts!r}.")
        if not 0.0 <= progress < 1.0:
            raise ConfigError(f"{name}: progress must be from 0 to below 1, got {progress!r}.")
        self.attempts, self.progress = attempts, float(progress)
        self.judge = Judge(profile=profile, needs=needs, wall_s=wall_s, test_s=test_s)
        self.part = 0
        """Parts that are solved."""
        self.passed: tuple[str, ...] = ()
        """The code that solved them."""
        self.tried = 0
        """Attempts made at this part."""
        self.paid = 0.0
        """Reward for progress so far."""
        self._problem: Problem | None = None

    def parts_of(self, task: Task) -> int:
        """How many problems a task has."""
        return 1

    def problem_at(self, task: Task, part: int) -> Problem:
        """One of them, from 0."""
        return Problem.of_json(task.metadata["problem"])

    def text_at(self, task: Task, part: int) -> str:
        """What is said when a part after the first one is asked for."""
        raise NotImplementedError(f"{type(self).__name__} has tasks of several parts, so it has to say what they are.")

    @property
    def problem(self) -> Problem:
        """What is asked for now; its tests are made when they are needed first."""
        if self._problem is None:
            self._problem = self.problem_at(self.task, self.part)
        return self._problem

    @property
    def _how(self) -> str:
        return (
            f"Reply {self.format.final('...')} with the whole code in it, all that it needs included, or give the code in a "
            "```python block."
        )

    @override
    def rules(self) -> str:
        more = f" You have {self.attempts} attempts; after each one you are told what failed." if self.attempts > 1 else ""
        tools = f"{self.format.describe(self.tools)}\n\n" if self.tools else ""
        return f"{tools}{self._how}{more}"

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * self.attempts * self.parts_of(task)

    @override
    def begin(self, task: Task) -> str:
        self.part, self.passed, self.tried, self.paid, self._problem = 0, (), 0, 0.0, None
        return super().begin(task)

    @override
    def play(self, action: str) -> Transition:
        if "<tool_call>" in action and self.tools:
            return super().play(action)
        transition = self._attempt(code_of(action, self.problem.name))
        self._transcript += [f"> {action}", transition.observation]
        return transition

    @override
    def grade(self, answer: str) -> float:
        return float(self._tried(code_of(self.format.final(answer), self.problem.name)).solved)

    @override
    def _answer(self, answer: str) -> Transition:
        return self._attempt(code_of(self.format.final(answer), self.problem.name))

    def _attempt(self, code: str) -> Transition:
        problem = self.problem
        if not code.strip():
            return self.refuse(f"No code was found in the reply. {self._how}")
        if problem.name not in code:
            return self.refuse(f"The code defines no function `{problem.name}`.")
        verdict = self._tried(code)
        self.tried += 1
        if not verdict.solved:
            return self._failed(problem, verdict)
        parts = self.parts_of(self.task)
        if self.part + 1 == parts:
            return Transition("Solved: all tests passed.", 1.0 - self.paid, True, 1.0, {"answer": 1.0 - self.paid})
        gain = self._gain(1.0)
        self.part, self.passed, self.tried, self._problem = self.part + 1, (*self.passed, code), 0, None
        text = f"Part {self.part} is solved: all tests passed.\n\n{self.text_at(self.task, self.part)}"
        return Transition(text, gain, terms={"progress": gain} if gain else {})

    def _tried(self, code: str) -> Verdict:
        given = "\n\n".join(part for part in (self.problem.given, *self.passed) if part)
        return self.judge.attempt(replace(self.problem, given=given), code)

    def _failed(self, problem: Problem, verdict: Verdict) -> Transition:
        gain = self._gain(max(0.0, verdict.share - problem.floor) / (1.0 - problem.floor) if problem.floor < 1.0 else 0.0)
        left = self.attempts - self.tried
        more = f"{left} attempt{'s' * (left != 1)} left." if left else "No attempt is left."
        text = f"Not solved. {more}\n{feedback(problem, verdict)}"
        return Transition(text.encode("utf-8", "replace").decode(), gain, left == 0, terms={"progress": gain} if gain else {})

    def _gain(self, share: float) -> float:
        """What is paid now for that share of this part, every part being worth the same: what it is worth less what was paid."""
        gain = max(0.0, self.progress * (self.part + share) / self.parts_of(self.task) - self.paid)
        self.paid += gain
        return gain
