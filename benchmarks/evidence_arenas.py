"""Where and how methods are compared: arenas (environment, a novice's warm-start, budget) and the recipes that meet there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from turnwise.envs.search.fan_out import FanOut
from turnwise.envs.search.lookup import Lookup
from turnwise.envs.search.lookup_world import path_of
from turnwise.trainers.recipe import EnvChoice

__all__ = ["ARENAS", "METHODS", "Arena", "Method", "careless_action", "forgetful_action"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """The same for every method: the task, where learning starts, and what a run may spend."""

    env: EnvChoice
    teacher: str
    """"module:function" of `(env, rng) -> str`: whose episodes the warm-start imitates."""
    demonstrations: int
    shown: tuple[int, ...] = ()
    """Levels of the demonstrations, if others than the one that is played."""
    tokens: int
    """Sampled tokens of a run; it ends after the step that spends the last."""
    tool_calls: int
    """Likewise."""
    episodes: int = 128
    """Trajectories of a step: a method with groups of n has episodes / n tasks."""
    max_new_tokens: int = 16
    context: int = 512
    lr: float = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A recipe, and what it needs to be told for these arenas."""

    recipe: str
    """A file in recipes/ without its ending; of it count rollouts, rewards, credit, loss, critic, sampler and packing."""
    overrides: tuple[str, ...] = ()
    """As on the command line."""
    calls: float = 1.0
    """Share of the arena's tool calls that it may spend."""
    arenas: tuple[str, ...] = ()
    """Where it is at home; () is everywhere."""


WRONG, EARLY, FORGETS = 0.1, 0.15, 0.9
"""Chances per hop to take a wrong relation or to stop there, and at the end not to see that it is the end."""


def forgetful_action(env: Lookup, rng: np.random.Generator) -> str:
    """The next action of a novice who makes a slip now and then, and mostly does not know the answer when it has found it.

    At each hop it takes a wrong relation with probability WRONG and goes on from there, or stops with probability EARLY and gives
    what it has. At the end of the question it names with probability FORGETS not what it found but a name it passed. So a long
    way has to be gone without a slip, and to say what was found is another thing to be learnt. The plan is made at turn 0.
    """
    world = env.task.metadata
    pages: Mapping[str, Any] = world["pages"]
    if env.turn == 0:
        env.plan = _forgetful_plan(world, rng)
    *way, end = env.plan
    name: str = world["start"]
    passed = [name]
    for relation in way:
        if name in env.read:
            name = pages[name]["see"]
        if (name, relation) not in env.asked:
            page: Mapping[str, Any] = pages.get(name, {})
            if "see" not in page and relation not in page.get("facts", {}):
                return env.format.final(name)
            return env.format.call("lookup", {"name": name, "fact": relation})
        name = pages[name]["facts"][relation]
        passed.append(name)
    return env.format.final(passed[int(float(end) * (len(passed) - 1))] if end else name)


def _forgetful_plan(world: Mapping[str, Any], rng: np.random.Generator) -> tuple[str, ...]:
    """Relations to follow, and "" to give what was found at their end, or else which of the names before it (0 to 1)."""
    way: list[str] = []
    for relation, name in zip(world["relations"], path_of(world), strict=False):
        others = [other for other in world["pages"][name]["facts"] if other != relation]
        draw = float(rng.random())
        if draw < EARLY and way:
            return (*way, "")
        way.append(others[int(rng.integers(len(others)))] if draw > 1 - WRONG and others else relation)
    right = way == world["relations"]
    return (*way, str(rng.random()) if right and rng.random() < FORGETS else "")


CARELESS, TIRED = 0.5, 0.3
"""Chance per question to ask for another fact of the page than the one that is asked for; chance per episode to stop half-way."""


def careless_action(env: FanOut, rng: np.random.Generator) -> str:
    """The next action of a novice who asks one fact for each question, often the wrong one, and then says what it was told.

    Now and then it stops half-way and guesses the rest. So few episodes get every part right, a wrong question shows only at the
    end, and who imitates it has a guess at every turn. The plan is made at turn 0: a relation for each question, up to where it
    stops.
    """
    world = env.task.metadata
    pages: Mapping[str, Any] = world["pages"]
    if env.turn == 0:
        asked = len(world["questions"])
        stop = int(rng.integers(1, asked)) if rng.random() < TIRED else asked
        env.plan = tuple(_fact_asked(pages[q["start"]], q["relations"][0], rng) for q in world["questions"][:stop])
    wanted = [(question["start"], relation) for question, relation in zip(world["questions"], env.plan, strict=False)]
    for name, relation in wanted:
        if (name, relation) not in env.asked:
            return env.format.call("lookup", {"name": name, "fact": relation})
    told = [pages[name]["facts"][relation] for name, relation in wanted]
    guessed = rng.choice(list(pages), size=len(world["questions"]) - len(told))
    return env.format.final(",".join([*told, *guessed]))


def _fact_asked(page: Mapping[str, Any], right: str, rng: np.random.Generator) -> str:
    others = [other for other in page["facts"] if other != right]
    return others[int(rng.integers(len(others)))] if rng.random() < CARELESS else right


ARENAS: dict[str, Arena] = {
    "lookup": Arena(
        env=EnvChoice(id="turnwise/Lookup-v0", difficulty=(2,), kwargs={"style": "terse", "instructions": False, "max_turns": 5}),
        teacher="turnwise.envs.search.lookup:novice_action",
        demonstrations=8000,
        tokens=280_000,
        tool_calls=20_000,
    ),
    "long": Arena(
        env=EnvChoice(id="turnwise/Lookup-v0", difficulty=(5,), kwargs={"style": "terse", "instructions": False}),
        teacher="evidence_arenas:forgetful_action",
        demonstrations=6000,
        tokens=120_000,
        tool_calls=12_000,
        episodes=64,
    ),
    "parts": Arena(
        env=EnvChoice(
            id="turnwise/FanOut-v0", difficulty=(3,), kwargs={"style": "terse", "instructions": False, "progress": 0.0}
        ),
        teacher="evidence_arenas:careless_action",
        demonstrations=16_000,
        shown=(1, 2, 3),
        tokens=260_000,
        tool_calls=16_000,
        episodes=64,
        max_new_tokens=40,
    ),
}

_TREE = ("rollout=tree", "advantage=tree", "packing=tree")

METHODS: dict[str, Method] = {
    "grpo": Method(recipe="quickstart"),
    "arpo_half": Method(recipe="arpo", overrides=("rollout.initial=2", "rollout.width=3"), calls=0.5, arenas=("lookup",)),
    "trloo_ig": Method(recipe="igpo", overrides=("advantage=trloo",)),
    "grpo_ig": Method(recipe="igpo", overrides=("advantage=grpo",)),
    "igpo": Method(recipe="igpo"),
    "gigpo": Method(recipe="gigpo"),
    "gigpo_ig": Method(recipe="gigpo", overrides=('rewards=[{name="information_gain", least=0.01}]',)),
    "tree_late": Method(recipe="quickstart", overrides=(*_TREE, "rollout.splits=[3, 5]")),
    "turn_gae": Method(recipe="odysseus", overrides=("transform=[]",)),
    "turn_gae_bootstrap": Method(recipe="odysseus", overrides=("transform=[]", "advantage.bootstrap=true")),
    "turn_gae_ig": Method(recipe="odysseus", overrides=("transform=[]", 'rewards=["information_gain"]')),
    "rloo": Method(recipe="quickstart", overrides=("advantage=rloo",)),
    "trloo": Method(recipe="trloo"),
    "odysseus": Method(recipe="odysseus"),
    "arpo": Method(recipe="arpo"),
    "aepo": Method(recipe="aepo"),
    "tree": Method(recipe="quickstart", overrides=_TREE),
    "deepsearch": Method(recipe="deepsearch"),
    "restart": Method(recipe="quickstart", overrides=("rollout=restart", "rollout.source=own", "sampler=replay")),
    "empg": Method(recipe="empg"),
    "istar": Method(recipe="istar"),
    "rlvmr": Method(recipe="rlvmr"),
    "prs_vspo": Method(recipe="prs_vspo"),
    "ufo": Method(recipe="ufo"),
}
"""In the order of their turn: what the issue judges first."""
