"""turnwise/CodeWrite-v0: write a Python program, function by function; hidden tests decide, and say what kind of input failed.

Every task is new: functions of several steps over lists, strings, dictionaries, grids or graphs, drawn from about 80 templates
(loops and conditions, sorting, windows, counting, breadth-first search, areas, dynamic programming), each of them with its own
parameters. A description gives three examples; 13 to 15 hidden tests hold the edges (empty, one element, equal values, negative
and large numbers, ...) and ordinary inputs. The reply is the function, in <answer>...</answer> or in a ```python block.

From level 2 on a task has several parts. The next one is asked for when all tests of the one before have passed, with attempts of
its own, and calls a function of an earlier part: on its value, on each row of a grid, each string of a list. What passed stands
before the code of later parts, so it need not be repeated.

An attempt runs in a sandbox session of its own, with the inputs but without the right answers: the results come out as plain data
and are compared outside. Leaving early, patching, printing and peeping win nothing (`turnwise.envs.code.judge` says what holds).
Code that does not end, eats memory or floods its output is stopped, and the attempt has failed.

A reset takes 0.5 milliseconds at level 1 to 2 at level 6: it draws every part anew until it says different things about different
inputs, and works out the examples. Steps run code in the sandbox, so they are no faster than that.

With `data=PATH` the problems come from your copy of HumanEval, MBPP or LiveCodeBench instead (`turnwise.envs.code.datasets`),
each of one part.

    reward terms    answer      1, less the progress paid so far, when the last part passes: an episode earns at most 1
                    progress    rises to `progress` with the parts that pass, and within a part with the largest share of hidden
                                tests passed so far; what a constant or the unchanged argument would pass does not count

The expert knows the functions and needs one turn a part. Turns, limits and the size of the whole solution (measured: 200 train
and 200 test tasks a level; steps without the calls; lines and nodes of the syntax tree, mean):

    level  parts  steps  lines  nodes  expert turns  turn limit
      1      1      2      12    107        1            8
      2      2      3      19    175        2           16
      3      3      5      32    305        3           24
      4      4      7      42    407        4           32
      5      5      8      50    465        5           40
      6      6     10      61    579        6           48
"""

from __future__ import annotations

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.code.attempts import CodeEnv
from turnwise.envs.code.datasets import load_problems
from turnwise.envs.code.parts import PARTS, make_task, part_prompt
from turnwise.envs.code.problem import Problem
from turnwise.envs.code.programs import problem_of, prompt_of
from turnwise.envs.core import Split
from turnwise.envs.options import ToolOptions
from turnwise.envs.question_files import DataSplit, Questions
from turnwise.errors import Unsupported
from turnwise.types import Task

__all__ = ["CodeWrite"]


class CodeWrite(CodeEnv):
    """Functions to write, with several attempts at each. See the module.

    data: a file or folder of problems instead (`turnwise.envs.code.datasets`).
    data_split: the split of its problems: "auto" (as the file or folder is called, else by a hash), "hash", "train" or "test".
    attempts: submissions that may be made for each part.
    progress: what passing hidden tests earns at most before all is solved (0 to below 1).
    profile: what a submission has ready: "python" (nothing), "math" (numpy, sympy), "science" (pandas, scipy too).
    needs: the weakest sandbox that will do: "namespaces", or "landlock", "rlimits" (see `turnwise.tool_servers.sandbox`).
    wall_s: seconds that a batch of tests may take.
    test_s: CPU seconds that one test may take.
    """

    levels = range(1, len(PARTS) + 1)

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
    def parts_of(self, task: Task) -> int:
        return len(task.metadata.get("parts", (0,)))

    @override
    def problem_at(self, task: Task, part: int) -> Problem:
        if "parts" not in task.metadata:
            return super().problem_at(task, part)
        *before, program = task.metadata["parts"][: part + 1]
        return problem_of(program, [earlier["source"] for earlier in before])

    @override
    def text_at(self, task: Task, part: int) -> str:
        programs = task.metadata["parts"]
        about = prompt_of(programs[part]["statement"], self.problem.name, self.problem.examples)
        return part_prompt([program["name"] for program in programs], part, about)

    @override
    def expert_action(self) -> str:
        """The solution. Raises Unsupported for a problem of a data set that has none."""
        if not self.problem.solution:
            raise Unsupported(f"CodeWrite: task {self.task.id} came without a solution, so nobody can play as its expert.")
        return self.format.final(f"\n{self.problem.solution}")
