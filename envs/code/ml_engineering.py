"""turnwise/MLEngineering-v0: improve a small model on a table, under a budget of seconds that each step asks for.

A new task each time: train.csv with a target, test.csv without it, and baseline.py, a model of straight lines that works. What it
cannot see is known to the environment alone: what a group adds, a square, a product, a season, a logarithm, a threshold, slopes
that differ between groups, values that are missing for a reason, training rows that are plainly wrong. The agent looks at the
data, writes better models in a Python session in a sandbox (numpy, pandas, scipy), and submits predictions.csv.

Time is counted by what is asked for, never by a clock: `run` takes the seconds it may last as an argument, they are taken from
the budget whether they are used or not, and the code is stopped when they are over. So the budget replays, lying about it wins
nothing, and steps take different times (a trainer that weighs turns by their duration measures it itself). `submit` costs 5
seconds.

The held-out targets never enter the sandbox: predictions are fetched from it and scored outside. `submit` tells the score on one
half of the held-out rows; the last submission's score on the other half counts, when the agent answers or its turns are over.

    reward terms    score       (1 - `progress`) times the final score: 0 for the given model, 1 for 95 % of the way from it to
                                the function that the data was drawn from
                    progress    `progress` in three marks, each once, by the rows of `submit`: valid predictions (a tenth), a
                                tenth of the way (three tenths), half of the way (six tenths)

Turns of the expert, which puts in one part after the other, looks at each model, submits and answers (measured: 200 train and 200
test tasks a level; always exactly these):

    level  parts  expert turns  budget in seconds  turn limit
      1      1         3               60              12
      2      2         4               80              14
      3      3         5              100              16
      4      4         6              120              18
      5      5         7              140              20
      6      6         8              160              22

A reset searches for data on which every part is worth something, by fitting the models: 10 to 40 milliseconds.

Idea: reinforcement learning for machine-learning engineers, with durations and partial credit (arXiv 2509.01684); there the marks
are printed by the agent's program, here they are seen from outside.
"""

from __future__ import annotations

import json

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.code.ml_tasks import HELD_OUT, LEVELS, Data, Floats, data_of, make_ml_task, program_with, score_of
from turnwise.envs.core import Split, Transition, TurnEnv
from turnwise.envs.options import ToolOptions
from turnwise.envs.python_session import PythonSession
from turnwise.envs.tool_env import ToolEnv
from turnwise.envs.tools import tool
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["MLEngineering"]

SUBMIT_S = 5
MARKS = {"valid": (0.1, -1.0), "better": (0.3, 0.1), "half": (0.6, 0.5)}
"""Mark -> its share of `progress`, and the score that it takes."""
MAX_FILE = 200_000
"""Bytes of predictions.csv."""


class MLEngineering(ToolEnv):
    """A model to improve, with Python and a budget of seconds. See the module.

    seconds: the budget; by the level where it is not given.
    progress: what the marks on the way earn together (0 to below 1).
    profile: what the Python session has ready: "science" (numpy, pandas, scipy, sympy) or "math" (numpy, sympy).
    needs: the weakest sandbox that will do: "namespaces", or "landlock", "rlimits" (see `turnwise.tool_servers.sandbox`).
    most_s: the most seconds that one call of `run` may ask for.
    """

    metadata = {**TurnEnv.metadata, "inline": False}  # noqa: RUF012  (Gymnasium's)
    levels = range(1, len(LEVELS) + 1)

    def __init__(
        self,
        *,
        seconds: int | None = None,
        progress: float = 0.2,
        profile: str = "science",
        needs: str = "namespaces",
        most_s: int = 60,
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(**options)
        if not 0.0 <= progress < 1.0:
            raise ConfigError(f"MLEngineering: progress must be from 0 to below 1, got {progress!r}.")
        if seconds is not None and seconds < 1 + SUBMIT_S:
            raise ConfigError(f"MLEngineering: seconds must be at least {1 + SUBMIT_S}, got {seconds!r}.")
        self.seconds, self.progress, self.most_s = seconds, float(progress), most_s
        self._python = PythonSession(profile=profile, needs=needs, wall_s=float(most_s))
        self.left = 0
        """Seconds of the budget that are left."""
        self.ran: tuple[str, ...] = ()
        """What ran in this episode."""
        self.marks: tuple[str, ...] = ()
        """Marks reached in this episode."""
        self._predicted: Floats | None = None
        """The last submission. Never changed in place, so forks may share it."""
        self._gain = 0.0
        """Progress of this step."""

    @tool
    def run(self, code: str, seconds: int = 10) -> str:
        """Run Python code in the folder with train.csv, test.csv and baseline.py; variables stay for later calls.

        Args:
            code: Python source.
            seconds: what it may take at most; so much of the budget is used, whether it is needed or not.
        """
        if not 1 <= seconds <= self.most_s:
            return f"Error: seconds must be from 1 to {self.most_s}, got {seconds}."
        if seconds > self.left:
            return f"Error: only {self.left} seconds of the budget are left, {seconds} were asked for."
        if not self.ran:
            self._python.restart(self.task.id, self._data.files)
        self.left -= seconds
        self.ran = (*self.ran, code)
        text, _ = self._python.run(code, float(seconds))
        return f"{text}\n[{self.left} seconds left]"

    @tool
    def submit(self) -> str:
        """Submit predictions.csv: one number a line, for the rows of test.csv in order. Costs 5 seconds; the last one counts."""
        if self.left < SUBMIT_S:
            return f"Error: a submission costs {SUBMIT_S} seconds, only {self.left} are left."
        self.left -= SUBMIT_S
        predicted = self._fetched()
        if isinstance(predicted, str):
            return f"Error: predictions.csv {predicted}\n[{self.left} seconds left]"
        self._predicted = predicted
        r2, score = score_of(self._data, predicted, final=False)
        for mark, (share, wanted) in MARKS.items():
            if mark not in self.marks and score >= wanted:
                self.marks = (*self.marks, mark)
                self._gain += self.progress * share
        return (
            f"Submitted. On the interim half of the held-out rows: R2 = {r2:.3f}, score {score:.2f}.\n[{self.left} seconds left]"
        )

    toolset = (run, submit)

    @property
    def _data(self) -> Data:
        return data_of(json.dumps(self.task.metadata["spec"]))

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return make_ml_task(rng, difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        return make_ml_task(rng, difficulty, split)

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * len(task.metadata["spec"]["parts"]) + 10

    @override
    def begin(self, task: Task) -> str:
        self.left = 20 * len(task.metadata["spec"]["parts"]) + 40 if self.seconds is None else self.seconds
        self.ran, self.marks, self._predicted = (), (), None
        self._python.restart(task.id)
        return super().begin(task)

    @override
    def question(self, task: Task) -> str:
        return f"{task.prompt}\nYou have {self.left} seconds, of which each step takes what it asks for."

    @override
    def rules(self) -> str:
        done = self.format.final("done")
        return (
            f"{self.format.describe(self.tools)}\nHere the answer is {done}: it ends the episode, and the last submission counts."
        )

    @override
    def play(self, action: str) -> Transition:
        self._gain = 0.0
        played = super().play(action)
        gain = self._gain + sum(played.terms.values())
        terms = {**({"progress": self._gain} if self._gain else {}), **played.terms}
        if self.turn >= self._limit and not played.terminated:
            last = self._answer("")
            return played._replace(reward=gain + last.reward, outcome=last.outcome, terms={**terms, **last.terms})
        return played._replace(reward=gain, terms=terms)

    @override
    def _answer(self, answer: str) -> Transition:
        """The end, whatever the answer says."""
        score = self.grade(answer)
        text = f"The final score is {score:.2f}." if self._predicted is not None else "Nothing was submitted: the score is 0."
        earned = (1.0 - self.progress) * score
        return Transition(text, earned, terminated=True, outcome=score, terms={"score": earned})

    @override
    def grade(self, answer: str) -> float:
        return 0.0 if self._predicted is None else score_of(self._data, self._predicted, final=True)[1]

    def _fetched(self) -> Floats | str:
        """The predictions, or what is wrong with the file."""
        try:
            text = self._python.fetch("predictions.csv", MAX_FILE).decode("utf-8", "replace")
        except FileNotFoundError:
            return "is not there: write it first."
        except ConfigError:
            return f"is no regular file of at most {MAX_FILE} bytes."
        lines = text.split()
        if len(lines) != HELD_OUT:
            return f"has {len(lines)} values; one for each of the {HELD_OUT} rows of test.csv is needed, and no header."
        for number, line in enumerate(lines, 1):
            try:
                if not np.isfinite(float(line)):
                    return f"line {number}: {line[:30]!r} is not finite."
            except ValueError:
                return f"line {number}: {line[:30]!r} is no number."
        return np.array([float(line) for line in lines])

    @override
    def close(self) -> None:
        self._python.close()
        super().close()

    @override
    def expert_action(self) -> str:
        """One part of the data after the other goes into the model; then it submits and answers."""
        spec = self.task.metadata["spec"]
        for count in range(1, len(spec["parts"]) + 1):
            code = program_with(spec, count)
            if code not in self.ran:
                return self.format.call("run", {"code": code, "seconds": 10})
        if self._predicted is None:
            return self.format.call("submit", {})
        return self.format.final("done")
