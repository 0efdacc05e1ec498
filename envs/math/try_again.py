"""turnwise/TryAgain-v0: mathematical questions, several attempts at each, and no feedback but "Try again."

Whoever is told so has to look for the mistake alone, and to say something else than before. The next question comes after a right
answer or the last attempt. Each question is worth an equal share of 1: all of it for a right first attempt, and half as much for
each attempt after it; at the end repetition costs `repetition` * (1 - D / T), where D of the T answers differ (white space and
case apart; the same words to another question are something else). A reply without an answer is no attempt, but takes a turn.

Questions come from `source`: "arithmetic" (turnwise/Arithmetic-v0 without its calculator), "calculation"
(turnwise/RandomCalculation-v0), "tools" (turnwise/MathTools-v0 without its Python); or from your copy of GSM8K, MATH, MATH-500
or AIME with `data=PATH`. `questions=1, attempts=1` makes it the plain benchmark: one question, one answer.

    reward terms    answer       1 / 2**(attempts before) of the question's share, at a right answer
                    repetition   the cost, 0 or less, when the episode ends

The expert knows the answers and needs one turn a question (measured: 200 train and 200 test tasks a level; always exactly these).
With the level grow the questions and the way to each answer (operations of an expression, or parts of a problem each of which
needs the one before):

    level  questions = expert turns  operations, "arithmetic"  operations, "calculation"  parts, "tools"  attempts  turn limit
      1               1                        2                          2                     1            5          10
      2               2                        3                          3                     2          5 each       20
      3               3                        4                          4                     3          5 each       30
      4               4                        5                          6                     4          5 each       40
      5               5                        6                          9                     6          5 each       50
      6               6                        8                         13                     8          5 each       60

Source: UFO, unary feedback as observation (arXiv 2507.14295): one question, 5 attempts, halving, repetition 0.5, as at level 1.
Unlike its code, an attempt without an answer does not break the episode, the last wrong attempt is not called correct, and
repetition also costs where the turn limit ends the episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition
from turnwise.envs.math.answer_text import last_box
from turnwise.envs.math.arithmetic import make_arithmetic
from turnwise.envs.math.problem_chain import make_problem
from turnwise.envs.math.questions import QuestionEnv, QuestionOptions
from turnwise.envs.math.random_calculation import make_calculation
from turnwise.envs.question_files import id_in_split
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Task

__all__ = ["TryAgain"]

Source = Literal["arithmetic", "calculation", "tools"]
MAX_QUESTIONS = 100
_MAKERS = {"arithmetic": make_arithmetic, "calculation": make_calculation, "tools": make_problem}


class TryAgain(QuestionEnv):
    """Questions with several attempts at each, and "Try again." as the only feedback. See the module.

    source: where questions come from: "arithmetic", "calculation" or "tools".
    data: a file or folder of questions instead, one a task (`turnwise.envs.math.datasets`).
    data_split: the split of its questions: "auto" (as the file or folder is called, else by a hash), "hash", "train" or "test".
    questions: how many a task has (1 to 100); None: as the level says.
    attempts: answers that may be given to each question (1 or more).
    decay: what one attempt more multiplies the reward by (0 to 1).
    repetition: what saying the same again costs at most (0 to 1).
    """

    levels = range(1, 7)

    def __init__(
        self,
        *,
        source: Source = "arithmetic",
        questions: int | None = None,
        attempts: int = 5,
        decay: float = 0.5,
        repetition: float = 0.5,
        **options: Unpack[QuestionOptions],
    ) -> None:
        super().__init__(**options)
        if source not in _MAKERS:
            raise UnknownName("source of TryAgain", str(source), _MAKERS)
        if questions is not None and not 1 <= questions <= MAX_QUESTIONS:
            raise ConfigError(f"TryAgain: questions must be from 1 to {MAX_QUESTIONS}, got {questions}.")
        if questions not in (None, 1) and self.questions is not None:
            raise ConfigError(f"TryAgain: a task of a data set is one question; leave questions={questions} out.")
        if attempts < 1:
            raise ConfigError(f"TryAgain: attempts must be at least 1, got {attempts}.")
        self.source: Source = source
        self.attempts = attempts
        self.decay, self.repetition = self._share("decay", decay), self._share("repetition", repetition)
        self._count = questions
        self._asked: Sequence[tuple[str, str]] = ()
        """(question, right answer) of this episode."""
        self.said: tuple[tuple[str, ...], ...] = ((),)
        """The answers to each question so far, without white space and case; the last are those to the one that is asked."""
        self.solved = 0

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        made = _MAKERS[self.source](rng, difficulty)
        return Task(made.id, made.prompt, made.answer, made.difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        """One question, or several of that split in one task."""
        draw = super().sample_task
        count = 1 if self.questions is not None else self._count or difficulty
        return _joined([draw(rng, split, difficulty) for _ in range(count)], split)

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * self.attempts * len(_questions(task))

    @override
    def question(self, task: Task) -> str:
        count = len(_questions(task))
        several = f"{count} questions, one after the other, each with its own attempts.\n\nQuestion 1: " if count > 1 else ""
        return f"{several}{task.prompt}"

    @override
    def rules(self) -> str:
        many = f" You have {self.attempts} attempts." if self.attempts > 1 else ""
        return f"Reply {self.format.final('...')} with your answer.{many}"

    @override
    def begin(self, task: Task) -> str:
        self._asked, self.said, self.solved = _questions(task), ((),), 0
        return super().begin(task)

    @override
    def play(self, action: str) -> Transition:
        parsed = self.format.parse(action)
        answer = last_box(action) if parsed.answer is None else parsed.answer
        transition = self._attempt(answer) if answer else self._no_attempt()
        self._transcript += [f"> {action}", transition.observation]
        return transition

    def _attempt(self, answer: str) -> Transition:
        *before, tries = self.said
        score = self.grade(answer)
        reward = score * self.decay ** len(tries) / len(self._asked)
        self.solved += score >= 1.0
        self.said = (*before, (*tries, "".join(answer.split()).casefold()))
        last = len(tries) + 1 >= self.attempts
        text = "Correct." if score >= 1.0 else "That was the last attempt." if last else "Try again."
        done = score >= 1.0 or last
        over = done and len(self.said) == len(self._asked)
        if done and not over:
            text += f"\n\nQuestion {len(self.said) + 1}: {self._asked[len(self.said)][0]}"
            self.said = (*self.said, ())
        terms: dict[str, float] = {"answer": reward, "repetition": self._cost() if over or self._last_turn() else 0.0}
        return Transition(text, sum(terms.values()), terminated=over, outcome=self._outcome(), terms=terms)

    def _no_attempt(self) -> Transition:
        cost = self._cost() if self._last_turn() else 0.0
        terms: Mapping[str, float] = {"answer": 0.0, "repetition": cost}
        text = f"No answer was found; reply {self.format.final('...')}."
        return Transition(text, cost, outcome=self._outcome(), terms=terms, valid=False)

    def _outcome(self) -> float:
        return self.solved / len(self._asked)

    def _cost(self) -> float:
        answers = sum(map(len, self.said))
        return self.repetition * (sum(len(set(tries)) for tries in self.said) / answers - 1) if answers else 0.0

    def _last_turn(self) -> bool:
        return self.turn >= self._limit

    @override
    def grade(self, answer: str) -> float:
        question, truth = self._asked[len(self.said) - 1]
        return self.graded(answer, question, truth)

    @override
    def expert_action(self) -> str:
        return self.format.final(self._asked[len(self.said) - 1][1])


def _joined(tasks: Sequence[Task], split: Split) -> Task:
    """One task of several, in their order."""
    first, *more = tasks
    if not more:
        return first
    task_id = id_in_split("questions", "\n".join(task.id for task in tasks), split)
    return Task(task_id, first.prompt, first.answer, first.difficulty, {"more": [[task.prompt, task.answer] for task in more]})


def _questions(task: Task) -> Sequence[tuple[str, str]]:
    """(question, right answer) of each."""
    return [(task.prompt, task.answer), *((question, answer) for question, answer in task.metadata.get("more", ()))]
