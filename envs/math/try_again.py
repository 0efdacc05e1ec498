"""turnwise/TryAgain-v0: a mathematical question, several attempts, and no feedback but "Try again."

Whoever is told so has to look for the mistake alone, and to say something else than before. The reward is 1 for a right first
attempt, and half as much for each attempt after it; at the end repetition costs `repetition` * (1 - D / T), where D of the T
answers differ (white space and case apart). A reply without an answer is no attempt, but takes a turn.

Questions come from `source`: "arithmetic" (turnwise/Arithmetic-v0 without its calculator), "calculation"
(turnwise/RandomCalculation-v0), "tools" (turnwise/MathTools-v0 without its Python); or from your copy of GSM8K, MATH, MATH-500
or AIME with `data=PATH`. `attempts=1` makes it the plain benchmark: one question, one answer.

    reward terms    answer       1 / 2**(attempts before), at the right answer
                    repetition   the cost, 0 or less, when the episode ends

The expert knows the answer and needs one turn at every level; what grows is the way to it, by construction (operations of an
expression, or parts of a problem each of which needs the one before):

    level  operations, "arithmetic"  operations, "calculation"  parts, "tools"  attempts  turn limit
      1               2                         2                     1            5         10
      2               3                         3                     2            5         10
      3               4                         4                     3            5         10
      4               5                         6                     4            5         10
      5               6                         9                     6            5         10
      6               8                        13                     8            5         10

Source: UFO, unary feedback as observation (arXiv 2507.14295): 5 attempts, halving, repetition 0.5. Unlike its code, an attempt
without an answer does not break the episode, the last wrong attempt is not called correct, and repetition also costs where the
turn limit ends the episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Transition
from turnwise.envs.math.answer_text import last_box
from turnwise.envs.math.arithmetic import make_arithmetic
from turnwise.envs.math.problem_chain import make_problem
from turnwise.envs.math.questions import QuestionEnv, QuestionOptions
from turnwise.envs.math.random_calculation import make_calculation
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Task

__all__ = ["TryAgain"]

Source = Literal["arithmetic", "calculation", "tools"]
_MAKERS = {"arithmetic": make_arithmetic, "calculation": make_calculation, "tools": make_problem}


class TryAgain(QuestionEnv):
    """Several attempts at one question, with "Try again." as the only feedback. See the module.

    source: where questions come from: "arithmetic", "calculation" or "tools".
    data: a file or folder of questions instead (`turnwise.envs.math.datasets`).
    data_split: the split of its questions: "auto" (as the file or folder is called, else by a hash), "hash", "train" or "test".
    attempts: answers that may be given (1 or more).
    decay: what one attempt more multiplies the reward by (0 to 1).
    repetition: what saying the same again costs at most (0 to 1).
    """

    levels = range(1, 7)

    def __init__(
        self,
        *,
        source: Source = "arithmetic",
        attempts: int = 5,
        decay: float = 0.5,
        repetition: float = 0.5,
        **options: Unpack[QuestionOptions],
    ) -> None:
        super().__init__(**options)
        if source not in _MAKERS:
            raise UnknownName("source of TryAgain", str(source), _MAKERS)
        if attempts < 1:
            raise ConfigError(f"TryAgain: attempts must be at least 1, got {attempts}.")
        for name, share in (("decay", decay), ("repetition", repetition)):
            if not 0.0 <= share <= 1.0:
                raise ConfigError(f"TryAgain: {name} must be from 0 to 1, got {share}.")
        self.source: Source = source
        self.attempts, self.decay, self.repetition = attempts, float(decay), float(repetition)
        self.said: tuple[str, ...] = ()
        """The answers of this episode, without white space and case."""

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        made = _MAKERS[self.source](rng, difficulty)
        return Task(made.id, made.prompt, made.answer, made.difficulty)

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * self.attempts

    @override
    def rules(self) -> str:
        many = f" You have {self.attempts} attempts." if self.attempts > 1 else ""
        return f"Reply {self.format.final('...')} with your answer.{many}"

    @override
    def begin(self, task: Task) -> str:
        self.said = ()
        return super().begin(task)

    @override
    def play(self, action: str) -> Transition:
        parsed = self.format.parse(action)
        answer = last_box(action) if parsed.answer is None else parsed.answer
        transition = self._attempt(answer) if answer else self._no_attempt()
        self._transcript += [f"> {action}", transition.observation]
        return transition

    def _attempt(self, answer: str) -> Transition:
        score = self.grade(answer)
        reward = score * self.decay ** len(self.said)
        self.said = (*self.said, "".join(answer.split()).casefold())
        over = score >= 1.0 or len(self.said) >= self.attempts
        terms: dict[str, float] = {"answer": reward, "repetition": self._cost() if over or self._last_turn() else 0.0}
        text = "Correct." if score >= 1.0 else "That was the last attempt." if over else "Try again."
        return Transition(text, sum(terms.values()), terminated=over, outcome=score, terms=terms)

    def _no_attempt(self) -> Transition:
        cost = self._cost() if self._last_turn() else 0.0
        terms: Mapping[str, float] = {"answer": 0.0, "repetition": cost}
        return Transition(f"No answer was found; reply {self.format.final('...')}.", cost, terms=terms, valid=False)

    def _cost(self) -> float:
        return self.repetition * (len(set(self.said)) / len(self.said) - 1) if self.said else 0.0

    def _last_turn(self) -> bool:
        return self.turn >= self._limit

    @override
    def expert_action(self) -> str:
        return self.format.final(self.task.answer)
