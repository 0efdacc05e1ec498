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
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, seed_in
from turnwise.envs.options import ToolOptions
from turnwise.envs.search.lookup_world import LEVELS, answer_of, build_world, page_text, path_of, question_of
from turnwise.envs.tool_env import ToolEnv
from turnwise.envs.tools import tool
from turnwise.errors import UnknownName
from turnwise.types import Task

__all__ = ["HABITS", "Lookup", "Style", "normal", "novice_action"]

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
        style: Style = "plain",
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(**options)
        if style not in STYLES:
            raise UnknownName("style of Lookup", str(style), STYLES)
        self.style: Style = style
        self.read: tuple[str, ...] = ()
        """Names of the pages read whole in this episode, in order."""
        self.asked: frozenset[tuple[str, str]] = frozenset()
        """(name, fact) of what was asked for by itself."""
        self.plan: tuple[str, ...] = ()
        """What `novice_action` made up its mind to follow in this episode; of no consequence for the environment."""

    @tool
    def lookup(self, name: str, fact: str = "") -> str:
        """Look up a person, town, river or boat by its exact name; returns its page, or just one fact of it (such as "owner")."""
        found = self._find(name)
        terse = self.task.metadata["style"] == "terse"
        if found is None:
            return "unknown" if terse else f"There is no entry for {name[:80]!r}."
        page: Mapping[str, Any] = self.task.metadata["pages"][found]
        wanted = normal(fact[:MAX_ANSWER])
        if not wanted or "see" in page:
            self.read = (*self.read, found)
            return page_text(self.task.metadata, found)
        if wanted not in page["facts"]:
            return "nothing" if terse else f"The entry for {found} says nothing of that."
        self.asked |= {(found, wanted)}
        return page["facts"][wanted]

    toolset = (lookup,)

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return self._task_of(int(rng.integers(2**63)), difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        """Aims at the split: only the world that is played is built."""
        return self._task_of(seed_in(split, rng, lambda seed: self._id_of(seed, difficulty)), difficulty)

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
        self.read, self.asked, self.plan = (), frozenset(), ()
        return super().begin(task)

    @override
    def grade(self, answer: str) -> float:
        return float(len(answer) <= MAX_ANSWER and normal(answer) == normal(self.task.answer))

    @override
    def expert_action(self) -> str:
        """Follow the question along the pages read so far; look up the first that is missing, or answer."""
        name, missing = self._followed(self.task.metadata["start"], self.task.metadata["relations"])
        return self.format.call("lookup", {"name": name}) if missing else self.format.final(name)

    def _followed(self, name: str, relations: Sequence[str]) -> tuple[str, bool]:
        """As far as what was read so far leads from there: the name, and whether its page has to be looked up to go on."""
        pages: Mapping[str, Any] = self.task.metadata["pages"]
        for relation in relations:
            while True:
                if name not in self.read and (name, relation) not in self.asked:
                    return name, True
                if "see" not in pages[name]:
                    break
                name = pages[name]["see"]
            name = pages[name]["facts"][relation]
        return name, False

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


HABITS: Mapping[str, float] = {"right": 0.15, "early": 0.5, "order": 0.15, "relation": 0.2}
"""How often a novice works in which way (see `novice_action`)."""


def novice_action(env: Lookup, rng: np.random.Generator, habits: Mapping[str, float] = HABITS) -> str:
    """The next action of somebody who has understood the tool but not the task: demonstrations of mixed quality.

    Source of warm-start data: imitating it teaches the syntax and every part of the right way, and leaves the choice between the
    ways to reinforcement learning. A novice asks for one fact at a time, by a plan made at the first turn and kept in `env.plan`:

        right     hop by hop, as the question says
        early     stops some hops too soon and answers with what it has
        order     follows the relations as the question names them (outermost first) instead of the other way round
        relation  takes a wrong relation at one hop

    A plan that leads nowhere (the entry does not say) is given up for the right one. `rng` is the caller's, so that one task
    gives different demonstrations.
    """
    world = env.task.metadata
    if env.turn == 0 or not env.plan:
        names = list(habits)
        weights = np.array([habits[name] for name in names], float)
        env.plan = _plan(world, names[int(rng.choice(len(names), p=weights / weights.sum()))], rng)
    pages: Mapping[str, Any] = world["pages"]
    name: str = world["start"]
    for relation in env.plan:
        while "see" in pages.get(name, {}) and name in env.read:
            name = pages[name]["see"]
        if (name, relation) not in env.asked:
            dead_end = name not in pages or (env.turn > 0 and relation not in pages[name].get("facts", {relation: ""}))
            if not dead_end or env.plan == tuple(world["relations"]):
                return env.format.call("lookup", {"name": name, "fact": relation})
            env.plan = tuple(world["relations"])
            return novice_action(env, rng, habits)
        name = pages[name]["facts"][relation]
    return env.format.final(name)


def _plan(world: Mapping[str, Any], habit: str, rng: np.random.Generator) -> tuple[str, ...]:
    """The relations a novice of that habit means to follow."""
    right: list[str] = list(world["relations"])
    at = int(rng.integers(len(right)))
    match habit:
        case "early":
            return tuple(right[: max(1, at)]) if len(right) > 1 else tuple(right)
        case "order":
            return tuple(reversed(right))
        case "relation":
            page = world["pages"][path_of(world)[at]]
            others = [r for r in page["facts"] if r != right[at]]
            return (*right[:at], others[int(rng.integers(len(others)))]) if others else tuple(right)
        case _:
            return tuple(right)
