"""turnwise/FanOut-v0: several look-up questions at once; the answer is the list of theirs.

"1. the mayor of Fernhaven 2. the boat that Mira Tan sails on ..." Each is a question of `turnwise/Lookup-v0` about people, towns,
rivers and boats of one world. None helps with another, and one wrong look-up spoils one part of the answer. So episodes are long
and most turns matter by themselves: a task that shows how well credit is given to turns.

Turns of the expert and turn limits (measured: 200 train and 200 test tasks a level, both styles; always exactly these):

    level  questions  hops each  aliases each  expert turns  turn limit
      1        2          1           0             3            7
      2        4          1           0             5           11
      3        8          1           0             9           19
      4        6          2           0            13           27
      5        6          3           1            25           51

The answer gives the parts in order, with commas between them. Reward 1 needs all of them; `progress` of it (0.3 if not said) is
paid for the share of the parts that is right, as the term "progress", and the rest, the term "answer", for all.

Source: questions that fan out as in FanOutQA (Zhu et al. 2024, arXiv:2402.14116), about a generated world in place of Wikipedia.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Transition
from turnwise.envs.options import ToolOptions
from turnwise.envs.search.answers import paid_in_parts
from turnwise.envs.search.lookup import Lookup, Style, normal
from turnwise.envs.search.lookup_world import Level, answer_of, build_worlds, description_of, question_of
from turnwise.types import Task

__all__ = ["FanOut"]

LEVELS: Mapping[int, tuple[int, Level]] = {
    1: (2, Level(1, 0, 5, 2, 1, 1, 1)),
    2: (4, Level(1, 0, 5, 2, 1, 1, 1)),
    3: (8, Level(1, 0, 5, 2, 1, 1, 1)),
    4: (6, Level(2, 0, 5, 2, 1, 1, 1, similar=True)),
    5: (6, Level(3, 1, 5, 3, 1, 1, 1, similar=True)),
}
"""Level -> (questions, what each of them is like)."""
MAX_ANSWER = 1000
"""Characters; a longer answer is wrong without being looked at."""


class FanOut(Lookup):
    """Several look-ups in one question; reward 1 for all parts of the answer. See the module for the levels.

    progress: the share of the reward that is paid part by part (0 to 1).
    style: "terse" words questions and pages for tiny models ("boat of Kavo, river of Rimu?"); names are single short words.
    """

    levels = range(1, len(LEVELS) + 1)
    default_level = 2

    def __init__(self, *, progress: float = 0.3, style: Style = "plain", **options: Unpack[ToolOptions]) -> None:
        super().__init__(style=style, **options)
        self.progress = self._share("progress", progress)

    @override
    def _id_of(self, seed: int, difficulty: int) -> str:
        return f"fan-out/{self.style}/{difficulty}/{seed:016x}"

    @override
    def _task_of(self, seed: int, difficulty: int) -> Task:
        questions, level = LEVELS[difficulty]
        worlds = build_worlds(np.random.default_rng(seed), level, self.style, questions)
        pages = {name: page for world in worlds for name, page in world["pages"].items()}
        asked = [{"start": world["start"], "relations": world["relations"]} for world in worlds]
        metadata = {"style": self.style, "questions": asked, "pages": pages}
        prompt = _prompt([question_of(world) if self.style == "terse" else description_of(world) for world in worlds], self.style)
        answer = ("," if self.style == "terse" else ", ").join(map(answer_of, worlds))
        return Task(self._id_of(seed, difficulty), prompt, answer, difficulty, metadata)

    @override
    def turn_limit(self, task: Task) -> int:
        questions, level = LEVELS[task.difficulty]
        return 2 * questions * (level.expert_turns - 1) + 3

    @override
    def grade(self, answer: str) -> float:
        """The share of the parts that is right."""
        right = [answer_of(world) for world in self._worlds()]
        said = [part for part in re.split(r"[,;\n]", answer) if part.strip()] if len(answer) <= MAX_ANSWER else []
        if len(said) != len(right):
            return 0.0
        return sum(normal(a) == normal(b) for a, b in zip(said, right, strict=True)) / len(right)

    @override
    def _answer(self, answer: str) -> Transition:
        return paid_in_parts(self.grade(answer), len(self.task.metadata["questions"]), self.progress, "parts")

    @override
    def expert_action(self) -> str:
        """Question by question: look up the first page that is missing, or answer."""
        ends = list[str]()
        for world in self._worlds():
            name, missing = self._followed(world["start"], world["relations"])
            if missing:
                return self.format.call("lookup", {"name": name})
            ends.append(name)
        return self.format.final(", ".join(ends))

    def _worlds(self) -> list[Mapping[str, Any]]:
        """A world a question, with one start and one way; they share the pages."""
        known = self.task.metadata
        return [{"style": known["style"], "pages": known["pages"], **question} for question in known["questions"]]


def _prompt(questions: Sequence[str], style: Style) -> str:
    if style == "terse":
        return f"{', '.join(question.rstrip('?') for question in questions)}?"
    listed = "\n".join(f"{number}. {question}" for number, question in enumerate(questions, 1))
    return f"Find these names or words:\n{listed}\nAnswer with all of them, in this order, with commas between them."
