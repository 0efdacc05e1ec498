"""turnwise/MathTools-v0: mathematical problems of several parts, with Python to work them out.

Six areas: algebra, calculus, counting (combinatorics), numbers (number theory), probability, words (word problems); more than 50
templates. From level 2 on each part needs the result of the one before ("Let b be 20 plus the remainder when B is divided by
120"), so a mistake is carried on. Every answer is one integer or fraction, exact by construction; none of them stands in the
problem, and none is so small that it could be guessed.

The tool is a Python session in a sandbox (`turnwise.tool_servers.sandbox`): variables stay from call to call, there is no network
and no file but its own, and numpy and sympy are at hand (with `profile="science"` pandas and scipy too). What the code does
wrong is an observation; a sandbox that breaks is an EnvFailure. A fork forks the session.

With `data=PATH` the questions come from your copy of GSM8K, MATH, MATH-500 or AIME instead (any answer, graded as mathematics).

Turns of the expert, one call a part, and turn limits (measured: 200 train and 200 test tasks a level; always exactly these):

    level  parts  expert turns  turn limit
      1      1         2             5
      2      2         3             7
      3      3         4             9
      4      4         5            11
      5      6         7            15
      6      8         9            19
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import TurnEnv
from turnwise.envs.math.problem_chain import AREAS, make_problem
from turnwise.envs.math.questions import QuestionEnv, QuestionOptions
from turnwise.envs.python_session import PythonSession
from turnwise.envs.tools import tool
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Task

__all__ = ["MathTools"]


class MathTools(QuestionEnv):
    """Problems with a Python tool; reward 1 for the right answer, else 0. See the module for the levels.

    areas: which areas problems are made of (all six by default).
    data: a file or folder of questions instead (`turnwise.envs.math.datasets`).
    data_split: the split of its questions: "auto" (as the file or folder is called, else by a hash), "hash", "train" or "test".
    profile: what the Python session has ready: "math" (numpy, sympy), "science" (pandas, scipy too), "python" (neither).
    needs: the weakest sandbox that will do: "namespaces", or "landlock", "rlimits" (see `turnwise.tool_servers.sandbox`).
    wall_s: seconds that one call may take.
    """

    metadata = {**TurnEnv.metadata, "inline": False}  # noqa: RUF012  (Gymnasium's)
    levels = range(1, 7)

    def __init__(
        self,
        *,
        areas: Sequence[str] | None = None,
        profile: str = "math",
        needs: str = "namespaces",
        wall_s: float = 10.0,
        **options: Unpack[QuestionOptions],
    ) -> None:
        super().__init__(**options)
        self.areas = tuple(AREAS if areas is None else areas)
        for area in self.areas:
            if area not in AREAS:
                raise UnknownName("area of MathTools", str(area), AREAS)
        if not self.areas or len(set(self.areas)) < len(self.areas):
            raise ConfigError(f"MathTools: areas must be one or more different ones, got {areas!r}.")
        self._python = PythonSession(profile=profile, needs=needs, wall_s=wall_s)
        self.ran: frozenset[str] = frozenset()
        """Code that ran without an error in this episode."""

    @tool
    def python(self, code: str) -> str:
        """Run Python code. Variables stay for later calls; what is printed and the value of a last expression come back."""
        text, right = self._python.run(code)
        if right:
            self.ran |= {code}
        return text

    toolset = (python,)

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return make_problem(rng, difficulty, self.areas)

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * len(task.metadata["calls"]) + 3 if "calls" in task.metadata else 10

    @override
    def begin(self, task: Task) -> str:
        self.ran = frozenset()
        self._python.restart(task.id)
        return super().begin(task)

    @override
    def close(self) -> None:
        self._python.close()
        super().close()

    @override
    def expert_action(self) -> str:
        """The first part that has not been calculated yet, or the answer."""
        calls: Sequence[str] = self.task.metadata.get("calls", ())
        for code in calls:
            if code not in self.ran:
                return self.format.call("python", {"code": code})
        return self.format.final(self.task.answer)
