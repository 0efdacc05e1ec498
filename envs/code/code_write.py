"""turnwise/CodeWrite-v0: write a Python function from its description; hidden tests decide, and say what kind of input failed.

Every task is new: a function of several steps over lists, strings, dictionaries, grids or graphs, drawn from about 80 templates
(loops and conditions, sorting, windows, counting, breadth-first search, areas, dynamic programming), each of them with its own
parameters. The description gives three examples; 13 to 15 hidden tests hold the edges (empty, one element, equal values, negative
and large numbers, ...) and ordinary inputs. The reply is the whole function, in <answer>...</answer> or in a ```python block.

An attempt runs in a sandbox session of its own, with the inputs but without the right answers: the results come out as plain data
and are compared outside. Leaving early, patching, printing and peeping win nothing (`turnwise.envs.code.judge` says what holds).
Code that does not end, eats memory or floods its output is stopped, and the attempt has failed.

With `data=PATH` the problems come from your copy of HumanEval, MBPP or LiveCodeBench instead (`turnwise.envs.code.datasets`).

    reward terms    answer      1, less the progress paid so far, when all tests pass: an episode earns at most 1
                    progress    rises to `progress` with the largest share of hidden tests passed so far; what a constant or the
                                unchanged argument would pass does not count

The expert knows the function and needs one turn at every level; what grows is the function (measured: 200 train and 200 test
tasks a level; lines and nodes of the syntax tree of the solution, mean):

    level  steps  lines  nodes  turn limit
      1      2      12    113        8
      2      3      15    150        8
      3      4      20    214        8
      4      5      25    264        8
      5      6      29    308        8
      6      8      38    405        8
"""

from __future__ import annotations

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.code.attempts import CodeEnv
from turnwise.envs.code.datasets import load_problems
from turnwise.envs.code.programs import LEVELS, make_task
from turnwise.envs.core import Split
from turnwise.envs.options import ToolOptions
from turnwise.envs.question_files import DataSplit, Questions
from turnwise.errors import Unsupported
from turnwise.types import Task

__all__ = ["CodeWrite"]


class CodeWrite(CodeEnv):
    """A function to write, with several attempts. See the module.

    data: a file or folder of problems instead (`turnwise.envs.code.datasets`).
    data_split: the split of its problems: "auto" (as the file or folder is called, else by a hash), "hash", "train" or "test".
    attempts: submissions that may be made.
    progress: what passing hidden tests earns at most before the problem is solved (0 to below 1).
    profile: what a submission has ready: "python" (nothing), "math" (numpy, sympy), "science" (pandas, scipy too).
    needs: the weakest sandbox that will do: "namespaces", or "landlock", "rlimits" (see `turnwise.tool_servers.sandbox`).
    wall_s: seconds that a batch of tests may take.
    test_s: CPU seconds that one test may take.
    """

    levels = range(1, len(LEVELS) + 1)

    def __init__(
        self,
        *,
        data: str | None = None,
        data_split: DataSplit = "auto",
        attempts: int = 4,
        progress: float = 0.3,
        profile: str = "python",
        needs: str = "namespaces",
        wall_s: float = 10.0,
        test_s: float = 1.0,
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(
            attempts=attempts, progress=progress, profile=profile, needs=needs, wall_s=wall_s, test_s=test_s, **options
        )
        self.questions = None if data is None else Questions(data, load_problems(data, split=data_split))
        self.level_of_data = options.get("difficulty")

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return make_task(rng, difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        if self.questions is not None:
            return self.questions.draw(rng, split, self.level_of_data)
        return make_task(rng, difficulty, split)

    @override
    def expert_action(self) -> str:
        """The solution. Raises Unsupported for a problem of a data set that has none."""
        if not self.problem.solution:
            raise Unsupported(f"CodeWrite: task {self.task.id} came without a solution, so nobody can play as its expert.")
        return self.format.final(f"\n{self.problem.solution}")
