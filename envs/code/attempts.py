"""CodeEnv: an environment whose agent submits Python code, is told which tests failed, and may try again."""

from __future__ import annotations

import re

from typing_extensions import Unpack, override

from turnwise.envs.actions import final_answer
from turnwise.envs.code.feedback import feedback
from turnwise.envs.code.judge import Judge
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
    """Attempts at a `Problem` that stands in the task's metadata; the first right one ends the episode."""

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
        self.tried = 0
        """Attempts made."""
        self.paid = 0.0
        """Reward for progress so far."""
        self._problem = Problem("calls", "")

    @property
    def problem(self) -> Problem:
        """What the task of this episode asks for."""
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
        return 2 * self.attempts

    @override
    def begin(self, task: Task) -> str:
        self.tried, self.paid = 0, 0.0
        self._problem = Problem.of_json(task.metadata["problem"])
        return super().begin(task)

    @override
    def play(self, action: str) -> Transition:
        if "<tool_call>" in action and self.tools:
            return super().play(action)
        transition = self._attempt(code_of(action, self._problem.name))
        self._transcript += [f"> {action}", transition.observation]
        return transition

    @override
    def grade(self, answer: str) -> float:
        return float(self.judge.attempt(self._problem, code_of(self.format.final(answer), self._problem.name)).solved)

    @override
    def _answer(self, answer: str) -> Transition:
        return self._attempt(code_of(self.format.final(answer), self._problem.name))

    def _attempt(self, code: str) -> Transition:
        problem = self._problem
        if not code.strip():
            return self.refuse(f"No code was found in the reply. {self._how}")
        if problem.name not in code:
            return self.refuse(f"The code defines no function `{problem.name}`.")
        verdict = self.judge.attempt(problem, code)
        self.tried += 1
        if verdict.solved:
            return Transition("Solved: all tests passed.", 1.0 - self.paid, True, 1.0, {"answer": 1.0 - self.paid})
        earned = self.progress * max(0.0, verdict.share - problem.floor) / (1.0 - problem.floor) if problem.floor < 1.0 else 0.0
        gain = max(0.0, earned - self.paid)
        self.paid += gain
        left = self.attempts - self.tried
        more = f"{left} attempt{'s' * (left != 1)} left." if left else "No attempt is left."
        text = f"Not solved. {more}\n{feedback(problem, verdict)}"
        return Transition(text.encode("utf-8", "replace").decode(), gain, left == 0, terms={"progress": gain} if gain else {})
