"""turnwise/Lookup-v0: multi-hop questions about a seeded world, answered with a look-up tool over several turns.

"What is the name of the river that flows through the town where Mira Tan lives?" has to be looked up hop by hop: every page
states several facts of which one is asked; the others lead to pages that look alike. From level 3 on names resemble each other,
from level 4 on a name may be an alias whose page only says where to look. No answer stands in the question or on a page off the
path, so nothing can be guessed.

Turns of the expert and turn limits (measured: 200 train and 200 test tasks a level, both styles; always exactly these):

    level  hops  aliases  expert turns  turn limit  pages in the world (mean)
      1     1       0          2            5           7
      2     2       0          3            7           8
      3     3       0          4            9          13
      4     4       1          6           12          17
      5     5       2          8           15          25
      6     6       3         10           18          33
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from typing_extensions import override

from turnwise.envs.core import Split, split_of
from turnwise.envs.search.lookup_world import LEVELS, answer_of, build_world, page_text, path_of, question_of
from turnwise.envs.tool_env import ToolEnv
from turnwise.envs.tools import tool
from turnwise.errors import UnknownName
from turnwise.types import Task

__all__ = ["HABITS", "Lookup", "novice_action"]

Style = Literal["plain", "terse"]
STYLES = ("plain", "terse")
MAX_ANSWER = 200
"""Characters; a longer answer is wrong without being looked at."""


class Lookup(ToolEnv):
    """Multi-hop look-up; reward 1 for the right answer, else 0. See the module for the levels.

    `style="terse"` words questions and pages for tiny models ("river of town of Kavo?"); the names are single short words then.
    """

    levels = range(1, len(LEVELS) + 1)
    default_level = 2

    def __init__(
        self,
        *,
        split: Split = "train",
        difficulty: int | None = None,
        max_turns: int | None = None,
        render_mode: str | None = None,
        action_format: str = "hermes",
        instructions: bool = True,
        style: Style = "plain",
    ) -> None:
        super().__init__(
            split=split,
            difficulty=difficulty,
            max_turns=max_turns,
            render_mode=render_mode,
            action_format=action_format,
            instructions=instructions,
        )
        if style not in STYLES:
            raise UnknownName("style of Lookup", str(style), STYLES)
        self.style: Style = style
        self.read: tuple[str, ...] = ()
        """Names of the pages read in this episode, in order."""
        self.habit = ""
        """What `novice_action` drew for this episode; of no consequence for the environment."""

    @tool
    def lookup(self, name: str) -> str:
        """Look up a person, town, river or boat by its exact name; returns what is known about it."""
        found = self._find(name)
        if found is None:
            return "unknown" if self.task.metadata["style"] == "terse" else f"There is no entry for {name[:80]!r}."
        self.read = (*self.read, found)
        return page_text(self.task.metadata, found)

    toolset = (lookup,)

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return self._task_of(int(rng.integers(2**63)), difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        """Aims at the split: only the world that is played is built."""
        while True:
            seed = int(rng.integers(2**63))
            if split_of(self._id_of(seed, difficulty)) == split:
                return self._task_of(seed, difficulty)

    def _id_of(self, seed: int, difficulty: int) -> str:
        return f"lookup/{self.style}/{difficulty}/{seed:016x}"

    def _task_of(self, seed: int, difficulty: int) -> Task:
        world = build_world(np.random.default_rng(seed), LEVELS[difficulty], self.style)
        return Task(self._id_of(seed, difficulty), question_of(world), answer_of(world), difficulty, world)

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * len(task.metadata["relations"]) + 3 + LEVELS[task.difficulty].aliases

    @override
    def begin(self, task: Task) -> str:
        self.read, self.habit = (), ""
        return super().begin(task)

    @override
    def grade(self, answer: str) -> float:
        return float(len(answer) <= MAX_ANSWER and normal(answer) == normal(self.task.answer))

    @override
    def expert_action(self) -> str:
        """Follow the question along the pages read so far; look up the first that is missing, or answer."""
        name: str = self.task.metadata["start"]
        for relation in self.task.metadata["relations"]:
            while True:
                if name not in self.read:
                    return self.format.call("lookup", {"name": name})
                page: Mapping[str, Any] = self.task.metadata["pages"][name]
                if "see" not in page:
                    break
                name = page["see"]
            name = page["facts"][relation]
        return self.format.final(name)

    def _find(self, name: str) -> str | None:
        pages: Mapping[str, Any] = self.task.metadata["pages"]
        if name in pages:
            return name
        wanted = normal(name) if len(name) <= MAX_ANSWER else ""
        return next((page for page in pages if page.casefold() == wanted), None)


def normal(text: str) -> str:
    """Text without what does not matter for a name: case, articles at the start, punctuation, repeated spaces."""
    words = re.sub(r"[^\w\s]|_", " ", text.casefold()).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] in ("the", "a", "an") else words)


HABITS: Mapping[str, float] = {"right": 0.3, "order": 0.2, "guess": 0.25, "relation": 0.25}
"""How often a novice works in which way (see `novice_action`)."""


def novice_action(env: Lookup, rng: np.random.Generator, habits: Mapping[str, float] = HABITS) -> str:
    """The next action of somebody who has understood the tool but not the task: demonstrations of mixed quality.

    Source of warm-start data: imitating it teaches the syntax and every part of the right way, and leaves the choice between the
    ways to reinforcement learning. One habit is drawn at the first turn of an episode and kept in `env.habit`:

        right     hop by hop, as the expert does
        order     follows the relations as the question names them (outermost first) instead of the other way round
        guess     answers too early with a name that the last page happens to show
        relation  takes a wrong relation on one page and goes on from there

    Every habit starts with the right look-up. `rng` is the caller's, so that one task gives different demonstrations.
    """
    if env.turn == 0 or not env.habit:
        names = list(habits)
        weights = np.array([habits[name] for name in names], float)
        env.habit = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        path: list[str] = env.task.metadata["relations"]
        if env.habit == "order" and path == path[::-1]:
            env.habit = "relation"  # either order is the right one
    world = env.task.metadata
    pages: Mapping[str, Any] = world["pages"]
    if not env.read:
        return env.format.call("lookup", {"name": world["start"]})
    page: Mapping[str, Any] = pages[env.read[-1]]
    if "see" in page:
        return env.format.call("lookup", {"name": page["see"]})
    value, done = _novice_step(env, page["facts"], rng)
    return env.format.final(value) if done or value not in pages else env.format.call("lookup", {"name": value})


def _novice_step(env: Lookup, facts: Mapping[str, str], rng: np.random.Generator) -> tuple[str, bool]:
    """The value to go on with, and whether it is the answer."""
    world = env.task.metadata
    relations: list[str] = world["relations"]
    step = sum("see" not in world["pages"][name] for name in env.read)
    left = max(0, len(relations) - step)
    plan = relations[::-1] if env.habit == "order" else relations
    wanted = plan[min(step, len(plan)) - 1]
    wrong = [value for relation, value in facts.items() if relation != wanted]
    now = wrong and rng.random() < 1 / (left + 1)
    if env.habit == "guess" and now:
        return wrong[int(rng.integers(len(wrong)))], True
    if wanted not in facts or (env.habit == "relation" and now and env.read[-1] in path_of(world)):
        candidates = wrong or list(facts.values())
        inner = [value for value in candidates if value in world["pages"]]
        candidates = inner if left and inner else candidates
        return candidates[int(rng.integers(len(candidates)))], left == 0
    return facts[wanted], left == 0
