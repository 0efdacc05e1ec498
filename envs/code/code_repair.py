"""turnwise/CodeRepair-v0: find the bugs in a Python function, with Python at hand, and mend them.

The functions and their tests are made as those of turnwise/CodeWrite-v0, with bugs as people make them: an operator or comparison
for another, off by one, a wrong start, min for max, a branch that is missing, statements in the wrong order, a loop that stops
early, an empty list that became a default argument and is shared by all calls. Each bug alone fails a hidden test; without any of
them all tests pass. The description says what the function should do, and the three examples are right. A reset searches for such
bugs: it runs the tests on one candidate after the other, 2 to 50 milliseconds from level 1 to 6.

`run` is a Python session in a sandbox in which the function, as it was given, is defined; variables stay from call to call. The
answer is the whole mended function, in <answer>...</answer> or in a ```python block; the tests run in another session
(`turnwise.envs.code.judge` says what holds against cheating).

    reward terms    answer      1, less the progress paid so far, when all tests pass: an episode earns at most 1
                    progress    rises to `progress` with the largest share of hidden tests passed so far, beyond those that the
                                function passes as it was given

The split of a task is that of the function before it was broken. Turns of the expert (it runs the examples once for every bug,
mending one each time, and answers) and the size of what it has to read (measured: 200 train and 200 test tasks a level; lines and
nodes of the syntax tree, mean of 150):

    level  steps  bugs  lines  nodes  expert turns  turn limit
      1      2      1     12    109         2           12
      2      3      1     16    156         2           12
      3      4      2     21    225         3           14
      4      5      2     25    258         3           14
      5      6      3     31    321         4           16
      6      8      4     38    397         5           18
"""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.code.attempts import CodeEnv
from turnwise.envs.code.guest import decode
from turnwise.envs.code.repairs import BUGS, make_repair
from turnwise.envs.core import Split
from turnwise.envs.options import ToolOptions
from turnwise.envs.python_session import PythonSession
from turnwise.envs.tools import tool
from turnwise.types import Task

__all__ = ["CodeRepair"]


class CodeRepair(CodeEnv):
    """A function to mend, with a Python session and several attempts. See the module.

    attempts: submissions that may be made.
    progress: what passing more hidden tests earns at most before the problem is solved (0 to below 1).
    profile: what session and submission have ready: "python" (nothing), "math" (numpy, sympy), "science" (pandas, scipy too).
    needs: the weakest sandbox that will do: "namespaces", or "landlock", "rlimits" (see `turnwise.tool_servers.sandbox`).
    wall_s: seconds that a call of `run`, or a batch of tests, may take.
    test_s: CPU seconds that one test may take.
    """

    levels = range(1, len(BUGS) + 1)

    def __init__(
        self,
        *,
        profile: str = "python",
        needs: str = "namespaces",
        wall_s: float = 10.0,
        attempts: int = 4,
        progress: float = 0.3,
        test_s: float = 1.0,
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(
            attempts=attempts, progress=progress, profile=profile, needs=needs, wall_s=wall_s, test_s=test_s, **options
        )
        self._python = PythonSession(profile=profile, needs=needs, wall_s=wall_s)
        self.ran: tuple[str, ...] = ()
        """What ran in this episode."""

    @tool
    def run(self, code: str) -> str:
        """Run Python code; the function as given is defined. Variables stay; prints and a last expression's value come back."""
        if not self.ran:
            self._python.run(self._sources[0])
        self.ran = (*self.ran, code)
        return self._python.run(code)[0]

    toolset = (run,)

    @property
    def _sources(self) -> list[str]:
        """The function with all bugs, with one mended, ..., with none."""
        return self.task.metadata["sources"]

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return make_repair(rng, difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        return make_repair(rng, difficulty, split)

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * self.attempts + 2 * len(task.metadata["sources"])

    @override
    def begin(self, task: Task) -> str:
        self.ran = ()
        self._python.restart(task.id)
        return super().begin(task)

    @override
    def close(self) -> None:
        self._python.close()
        super().close()

    @override
    def expert_action(self) -> str:
        """Runs the examples with the function as it is, then with one bug mended, ..., and answers when there is none."""
        calls = [code for source in self._sources[:-1] if (code := self._trial(source)) not in self.ran]
        if calls:
            return self.format.call("run", {"code": calls[0]})
        return self.format.final(f"\n{self.problem.solution}")

    def _trial(self, source: str) -> str:
        """Code that runs the examples; the function as it was given need not be defined again."""
        given: list[Any] = [decode(case.given[0]) for case in self.problem.examples]
        lines = [f"print({self.problem.name}({argument!r}))" for argument in given]
        return "\n".join([*([] if source == self._sources[0] else [source]), *lines])
