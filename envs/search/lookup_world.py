"""Seeded worlds of people, towns, rivers and boats, and the multi-hop question that each of them asks.

A world is plain JSON, `{"style", "start", "relations", "pages"}`: `start` is the name in the question, `relations` the path to
follow from there (innermost first), `pages[name]` either `{"kind", "facts": {relation: value}}` or `{"see": name}` (an alias).
It is built once, put into `Task.metadata` and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from turnwise.envs.draws import Draws
from turnwise.envs.search.lookup_names import draw_name, similar_name

__all__ = [
    "LEVELS",
    "Level",
    "answer_of",
    "build_world",
    "build_worlds",
    "description_of",
    "page_text",
    "path_of",
    "question_of",
]

World = Mapping[str, Any]

# kind of entity -> relation -> kind of value; kinds that are no key here have no page
RELATIONS: dict[str, dict[str, str]] = {
    "person": {"town": "town", "teacher": "person", "friend": "person", "neighbour": "person", "boat": "thing"},
    "town": {"river": "river", "mayor": "person", "market": "market"},
    "river": {"ferryman": "person", "sea": "sea"},
    "thing": {"maker": "person", "owner": "person", "colour": "colour", "material": "material"},
}
_PHRASES = {
    "town": "the town where {} lives",
    "teacher": "the teacher of {}",
    "friend": "the best friend of {}",
    "neighbour": "the neighbour of {}",
    "boat": "the boat that {} sails on",
    "river": "the river that flows through {}",
    "mayor": "the mayor of {}",
    "market": "the market of {}",
    "ferryman": "the ferryman on {}",
    "sea": "the sea that {} flows into",
    "maker": "the builder of {}",
    "owner": "the owner of {}",
    "colour": "the colour of {}",
    "material": "the material of {}",
}
_FACTS = {
    "town": "{0} lives in {1}.",
    "boat": "{0} sails on {1}.",
    "river": "The river {1} flows through {0}.",
    "sea": "{0} flows into the sea {1}.",
    "colour": "{0} is painted {1}.",
    "material": "{0} is made of {1}.",
}


@dataclass(frozen=True, slots=True)
class Level:
    """What a difficulty level asks for. `facts` is the most that a page holds; the pool counts are pages off the path."""

    hops: int
    aliases: int
    facts: int
    people: int
    towns: int
    rivers: int
    things: int
    similar: bool = False

    @property
    def expert_turns(self) -> int:
        """One look-up a hop, one more for each alias on the way, and the answer."""
        return self.hops + self.aliases + 1


LEVELS: dict[int, Level] = {
    1: Level(1, 0, 2, 2, 1, 1, 1),
    2: Level(2, 0, 2, 2, 1, 1, 1),
    3: Level(3, 0, 3, 3, 2, 2, 2, similar=True),
    4: Level(4, 1, 4, 4, 2, 2, 2, similar=True),
    5: Level(5, 2, 4, 6, 3, 3, 3, similar=True),
    6: Level(6, 3, 5, 8, 4, 4, 4, similar=True),
}


class _Builder:
    """Draws one world; lives no longer than `build`."""

    def __init__(self, draws: Draws, level: Level, style: str, taken: set[str]) -> None:
        self.draws, self.level, self.style, self.taken = draws, level, style, taken
        self.forbidden = ""
        self.pages: dict[str, dict[str, Any]] = {}
        self.pool: dict[str, list[str]] = {}

    def build(self) -> dict[str, Any]:
        kinds, relations = self._path()
        start = self._fresh(kinds[0])
        world = {"style": self.style, "start": start, "relations": relations, "pages": self.pages}
        self.forbidden = question_of(world).casefold()
        chain = [start, *(self._fresh(kind) for kind in kinds[1:])]
        self._fill_pool(kinds, chain)
        shown = self._with_aliases(kinds, chain)
        for i, (name, kind) in enumerate(zip(chain, kinds, strict=True)):
            asked = (relations[i], shown[i + 1]) if i < len(relations) else None
            self._write(name, kind, asked, chain[-1])
        for kind, names in list(self.pool.items()):
            for name in names:
                if name not in self.pages:
                    self._write(name, kind, None, chain[-1])
        return world

    def _path(self) -> tuple[list[str], list[str]]:
        """[hops + 1] kinds and [hops] relations between them; only the last value may be of a kind without pages."""
        kinds, relations = [self.draws.pick(("person", "person", "person", "town", "thing"))], []
        for left in range(self.level.hops - 1, -1, -1):
            known = RELATIONS[kinds[-1]]
            relation = self.draws.pick([r for r, kind in known.items() if not left or kind in RELATIONS])
            relations.append(relation)
            kinds.append(known[relation])
        return kinds, relations

    def _fresh(self, kind: str, like: str = "") -> str:
        """A name that nothing has and the question does not contain. After a few tries at a similar one it may be any."""
        terse = self.style == "terse"
        for attempt in range(1000):
            name = similar_name(like, terse, self.draws) if like and attempt < 5 else draw_name(kind, terse, self.draws)
            if name not in self.taken and name.casefold() not in self.forbidden:
                self.taken.add(name)
                return name
        raise AssertionError(f"lookup world: the {kind} names are used up; a level must ask for fewer.")

    def _fill_pool(self, kinds: Sequence[str], chain: Sequence[str]) -> None:
        level = self.level
        for kind, count in (("person", level.people), ("town", level.towns), ("river", level.rivers), ("thing", level.things)):
            models = [name for name, k in zip(chain, kinds, strict=True) if k == kind] if level.similar else []
            self.pool[kind] = [self._fresh(kind, models[i] if i < len(models) else "") for i in range(count)]

    def _with_aliases(self, kinds: Sequence[str], chain: Sequence[str]) -> list[str]:
        """The chain as its pages spell it: some names between start and answer are aliases. As many aliases stand in the pool."""
        shown, people = list(chain), list(self.pool["person"])
        for i in self.draws.shuffled(range(1, len(chain) - 1))[: self.level.aliases]:
            shown[i] = self._alias(kinds[i], chain[i])
            self.pool["person"].append(self._alias("person", self.draws.pick(people)))
        return shown

    def _alias(self, kind: str, name: str) -> str:
        alias = self._fresh(kind)
        self.pages[alias] = {"see": name}
        return alias

    def _write(self, name: str, kind: str, asked: tuple[str, str] | None, answer: str) -> None:
        """The page of an entity: the fact that is asked, if any, among others whose values lie off the path."""
        if kind not in RELATIONS:
            return
        others = [r for r in self.draws.shuffled(list(RELATIONS[kind])) if asked is None or r != asked[0]]
        facts = {r: self._value(RELATIONS[kind][r], name, answer) for r in others[: self.level.facts - (asked is not None)]}
        if asked is not None:
            facts[asked[0]] = asked[1]
        self.pages[name] = {"kind": kind, "facts": dict(self.draws.shuffled(list(facts.items())))}

    def _value(self, kind: str, owner: str, answer: str) -> str:
        if kind in self.pool:
            return self.draws.pick([name for name in self.pool[kind] if name != owner])
        value = draw_name(kind, self.style == "terse", self.draws)
        while value == answer or value in self.taken:
            value = draw_name(kind, self.style == "terse", self.draws)
        return value


def build_world(rng: np.random.Generator, level: Level, style: str) -> World:
    """A random world for that level in that style ("plain" or "terse")."""
    return _Builder(Draws(rng), level, style, set()).build()


def build_worlds(rng: np.random.Generator, level: Level, style: str, count: int) -> Sequence[World]:
    """Several that no name is shared by, with no answer of one in the question of another."""
    draws = Draws(rng)
    while True:
        taken = set[str]()
        worlds = [_Builder(draws, level, style, taken).build() for _ in range(count)]
        asked = " ".join(map(question_of, worlds)).casefold()
        if not any(answer_of(world).casefold() in asked for world in worlds):
            return worlds


def question_of(world: World) -> str:
    """The question in the world's style."""
    relations, start = world["relations"], world["start"]
    if world["style"] == "terse":
        return f"{' of '.join([*reversed(relations), start])}?"
    phrase = description_of(world)
    return f"What is the name of {phrase}?" if relations[-1] not in ("colour", "material") else f"What is {phrase}?"


def description_of(world: World) -> str:
    """What is asked for, in plain words: "the mayor of the town where Mira Tan lives"."""
    phrase: str = world["start"]
    for relation in world["relations"]:
        phrase = _PHRASES[relation].format(phrase)
    return phrase


def path_of(world: World) -> list[str]:
    """[hops + 1] the entities from the start to the answer, aliases resolved."""
    pages, names = world["pages"], [world["start"]]
    for relation in world["relations"]:
        value = pages[names[-1]]["facts"][relation]
        names.append(pages.get(value, {}).get("see", value))
    return names


def answer_of(world: World) -> str:
    """The ground truth."""
    return path_of(world)[-1]


def page_text(world: World, name: str) -> str:
    """What a look-up of that entity shows, in the world's style."""
    page = world["pages"][name]
    if "see" in page:
        return f"see {page['see']}" if world["style"] == "terse" else f"{name}: see {page['see']}."
    facts: dict[str, str] = page["facts"]
    if world["style"] == "terse":
        return ", ".join(f"{relation} {value}" for relation, value in facts.items())
    return "\n".join(_FACTS.get(relation, f"The {relation} of {{0}} is {{1}}.").format(name, v) for relation, v in facts.items())
