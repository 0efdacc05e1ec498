"""Passages about a generated world with spans taken out, each of which the pages of the world give back.

A passage tells facts of connected things in words of its own; no page of the world is that passage. A masked thing is masked
wherever it stands, so what is said of it leads to it or on from it. In some passages the first thing itself is masked and has to
be found by two properties that nothing else has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from turnwise.envs.draws import Draws
from turnwise.envs.search.names import KINDS
from turnwise.envs.search.relations import Relation, relations_of
from turnwise.envs.search.world import Plot, Thing, World, build_world

__all__ = ["LEVELS", "Level", "Passage", "make_passage", "passage_world"]


@dataclass(frozen=True, slots=True)
class Level:
    """What a difficulty level asks for."""

    masks: int
    things: int
    """About so many things have pages."""
    hidden: float = 0.0
    """How often the first thing is masked."""


LEVELS: dict[int, Level] = {
    1: Level(1, 30),
    2: Level(2, 40),
    3: Level(3, 60, hidden=0.5),
    4: Level(4, 80, hidden=0.5),
    5: Level(5, 120, hidden=0.7),
    6: Level(6, 160, hidden=0.7),
    7: Level(8, 240, hidden=0.7),
}
_ONWARD = 0.65
"""How often the next fact is about the last value, where that is a thing."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text with masks [1], [2], ..., what they stand for, and the pages that say so."""

    text: str
    spans: tuple[str, ...]
    """[k] what was masked, in the order of the numbers."""
    searches: tuple[tuple[str, str], ...]
    """(query, name of a thing) for each page that is needed, in order."""
    plot: Plot


class _Teller:
    """Draws one passage; lives no longer than `make_passage`."""

    def __init__(self, seed: int, level: Level) -> None:
        self.plot = Plot(Draws(np.random.default_rng(seed)))
        self.level = level
        self.named: list[Thing] = []
        """Things that the passage has named, masked or not."""
        self.told: list[tuple[Thing, Relation]] = []
        self.masked: set[str] = set()
        self.searches: dict[str, str] = {}
        """Name of a thing -> the query that finds its page."""

    def passage(self) -> Passage:
        draws = self.plot.draws
        self._begin(self.plot.thing(draws.pick(KINDS)), draws.uniform() < self.level.hidden)
        while len(self.masked) < self.level.masks:
            self._go_on()
        text, spans = _numbered(" ".join(self._sentence(thing, relation) for thing, relation in self.told))
        for name in self.searches:
            self.plot.visit(self.plot.things[name])
        return Passage(text, spans, tuple((query, name) for name, query in self.searches.items()), self.plot)

    def _begin(self, start: Thing, hidden: bool) -> None:
        """What the reader is told of the first thing; one that is masked can be found by it."""
        self.named.append(start)
        things = [relation for relation in relations_of(start.kind) if not relation.numeric]
        for relation in self.plot.draws.shuffled(things)[: 2 if hidden else 1]:
            self.plot.closed.add(self._tell(start, relation))
        shown = [start.facts[relation.name] for _, relation in self.told]
        if hidden:
            self.masked.add(start.name)
            self.searches[start.name] = " ".join([start.kind, *shown])

    def _go_on(self) -> None:
        """One more fact with a masked value, about the thing named last or about any."""
        draws = self.plot.draws
        open_ended = [thing for thing in self.named if self._untold(thing)]
        onward = draws.uniform() < _ONWARD and self._untold(self.named[-1])
        thing = self.named[-1] if onward else draws.pick(open_ended)
        self.masked.add(self._tell(thing, draws.pick(self._untold(thing))))
        self.searches.setdefault(thing.name, thing.name)

    def _tell(self, thing: Thing, relation: Relation) -> str:
        value = self.plot.value(relation, thing)
        self.told.append((thing, relation))
        if not relation.numeric:
            self.named.append(self.plot.things[value])
        return value

    def _untold(self, thing: Thing) -> list[Relation]:
        return [relation for relation in relations_of(thing.kind) if (thing, relation) not in self.told]

    def _sentence(self, thing: Thing, relation: Relation) -> str:
        told = self.plot.draws.pick([words for words in relation.told if "{s}" in words])
        return told.format(s=self._written(thing.name), v=self._written(thing.facts[relation.name]))

    def _written(self, span: str) -> str:
        return f"\0{span}\0" if span in self.masked else span


def _numbered(text: str) -> tuple[str, tuple[str, ...]]:
    """(the text with each span between zeros replaced by its number, the spans in the order in which they first stand there)."""
    numbers = dict[str, int]()
    for span in text.split("\0")[1::2]:
        numbers.setdefault(span, len(numbers) + 1)
    pieces = text.split("\0")
    pieces[1::2] = [f"[{numbers[span]}]" for span in pieces[1::2]]
    return "".join(pieces), tuple(numbers)


def make_passage(seed: int, level: Level) -> Passage:
    """The passage of a seed; always the same one."""
    return _Teller(seed, level).passage()


@lru_cache(maxsize=64)
def passage_world(seed: int, level: Level) -> World:
    """The world of the passage of a seed; shared by all who ask for it."""
    return build_world(make_passage(seed, level).plot, level.things)
