"""Generated worlds: a plot that a question is about, and the pages of a small encyclopaedia around it.

The plot comes first and is cheap: the few things that the question needs, what is said of each, and the order to read them in.
The rest of the world comes when the first page is looked for: things with similar names, and for every thing a page that states
all its relations in one of several wordings. Where the plot contradicts itself, a thing has several pages (editions) with other
sources and years, and the question says which of them is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from turnwise.envs.draws import Draws
from turnwise.envs.search.names import KINDS, Parts, draw_parts, similar_parts, spelled
from turnwise.envs.search.prose import FLAVOUR, LEAD
from turnwise.envs.search.relations import NUMBERS, RELATIONS, Relation, relations_of
from turnwise.envs.search.rosters import COLLECTIONS
from turnwise.tool_servers.search.corpus import Document

__all__ = ["SOURCES", "Edition", "Plot", "Thing", "Visit", "World", "build_world", "mention", "page_id"]

SOURCES = (
    "Northern Gazetteer",
    "Harbour Almanac",
    "Guild Register",
    "Travellers' Handbook",
    "Provincial Yearbook",
    "Lamplighter's Companion",
)
EDITION_YEARS = (1999, 2024)
"""No year of a relation is among them."""
_MENTIONED = {"river": "the river {}", "ship": "the ship {}", "bridge": "the {}", "museum": "the {}", "novel": 'the novel "{}"'}
_SHARES = {
    "person": 0.28,
    "town": 0.18,
    "company": 0.12,
    "ship": 0.1,
    "bridge": 0.09,
    "novel": 0.09,
    "river": 0.08,
    "museum": 0.06,
}
_SIMILAR = 0.5
"""Share of the other things whose names resemble one of the plot's."""
_SECOND = 0.08
"""Share of the other things that have an older page too."""


@dataclass(frozen=True, slots=True)
class Edition:
    """One page about a thing: who says it, when, and where it differs from the truth."""

    source: str
    year: int
    changed: Mapping[str, str] = field(default_factory=dict[str, str])
    """Relation -> the value that stands there instead."""


@dataclass(slots=True)
class Thing:
    """A person, town, ship, ... and what is true of it; changed only while its world is built."""

    kind: str
    name: str
    parts: Parts
    facts: dict[str, str] = field(default_factory=dict[str, str])
    """Relation -> value: a name, or a number."""
    editions: list[Edition] = field(default_factory=list[Edition])


@dataclass(frozen=True, slots=True)
class Visit:
    """A thing whose page has to be read, and the relation that is read there ("" for the list of a collection, or none)."""

    thing: str
    relation: str = ""


class Plot:
    """The things of a question, drawn one after the other."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws
        self.things: dict[str, Thing] = {}
        self.visits: list[Visit] = []
        """In the order in which they make sense."""
        self.closed: set[str] = set()
        """Names that no other page may mention: what is said of them is complete."""
        self._taken: set[str] = set()

    def thing(self, kind: str, like: Thing | None = None) -> Thing:
        """A new one, with a name that nothing else has; similar to that of `like` unless such names are all taken."""
        for attempt in range(1000):
            similar = like is not None and attempt < 5
            parts = similar_parts(kind, like.parts, self.draws) if similar and like else draw_parts(kind, self.draws)
            name = spelled(kind, parts)
            if name not in self._taken:
                self._taken.add(name)
                self.things[name] = made = Thing(kind, name, parts)
                return made
        raise AssertionError(f"world: the names of kind {kind} are used up; a level must ask for fewer things.")

    def visit(self, thing: Thing, relation: str = "") -> None:
        self.visits.append(Visit(thing.name, relation))

    def value(self, relation: Relation, subject: Thing) -> str:
        """The value of a relation of that thing, drawn where there is none."""
        if relation.name not in subject.facts:
            fresh = self.number(relation.value) if relation.numeric else self.thing(relation.value).name
            subject.facts[relation.name] = fresh
        return subject.facts[relation.name]

    def number(self, kind: str) -> str:
        low, high = NUMBERS[kind]
        return str(low + self.draws.below(high - low + 1))

    def contradict(self, visit: Visit, editions: Sequence[tuple[str, int]]) -> None:
        """Give the thing several pages: the first edition is right, each other has a value of its own for the relation.

        A wrong value that is a thing has a page, as everything that is mentioned.
        """
        thing, relation = self.things[visit.thing], RELATIONS[visit.relation]
        thing.editions = [Edition(*editions[0])]
        for source, year in editions[1:]:
            thing.editions.append(Edition(source, year, {relation.name: self._wrong(relation, thing.facts[relation.name])}))

    def _wrong(self, relation: Relation, right: str) -> str:
        if not relation.numeric:
            return self.thing(relation.value, like=self.things[right]).name
        wrong = self.number(relation.value)
        while wrong == right:
            wrong = self.number(relation.value)
        return wrong


def mention(thing: Thing) -> str:
    """How a question names a thing."""
    return _MENTIONED.get(thing.kind, "{}").format(thing.name)


@dataclass(frozen=True, slots=True)
class World:
    """All pages of a world."""

    pages: tuple[Document, ...]
    ids: Mapping[tuple[str, int], str]
    """(name of a thing, number of its edition) -> id of the page."""


def page_id(world: World, name: str, edition: int = 0) -> str:
    """The id of a page; edition 0 is the right one."""
    return world.ids[name, edition]


def build_world(plot: Plot, size: int) -> World:
    """Fill the plot up to about `size` things and write every page. The plot is changed; use it for nothing else."""
    draws = plot.draws
    _populate(plot, size)
    _fill(plot)
    rosters = _rosters(plot.things.values())
    numbers = iter(_distinct(draws, 1000, 9999, sum(len(thing.editions) for thing in plot.things.values())))
    pages, ids = list[Document](), dict[tuple[str, int], str]()
    for thing in plot.things.values():
        listed = rosters.get(thing.name, ())
        for number, edition in enumerate(thing.editions):
            ids[thing.name, number] = page = str(next(numbers))
            pages.append(Document(page, f"{thing.name} ({thing.kind})", _text(thing, edition, listed, draws)))
    return World(tuple(pages), ids)


def _populate(plot: Plot, size: int) -> None:
    draws = plot.draws
    models = {kind: [thing for thing in plot.things.values() if thing.kind == kind] for kind in KINDS}
    for kind, share in _SHARES.items():
        for _ in range(max(2, round(share * size) - len(models[kind]))):
            plot.thing(kind, draws.pick(models[kind]) if models[kind] and draws.uniform() < _SIMILAR else None)


def _fill(plot: Plot) -> None:
    """Every relation of every thing, and at least one edition of its page."""
    draws, read = plot.draws, {visit.thing for visit in plot.visits}
    pool = defaultdict[str, list[str]](list)
    for thing in plot.things.values():
        if thing.name not in plot.closed:
            pool[thing.kind].append(thing.name)
    for thing in plot.things.values():
        for relation in relations_of(thing.kind):
            if relation.name not in thing.facts:
                thing.facts[relation.name] = _any_value(plot, pool, relation, thing.name)
        if not thing.editions:
            newest = EDITION_YEARS[0] + 1 + draws.below(EDITION_YEARS[1] - EDITION_YEARS[0])
            thing.editions = [Edition(draws.pick(SOURCES), newest)]
            if draws.uniform() < _SECOND and thing.name not in read:
                relation = draws.pick(relations_of(thing.kind))
                older = EDITION_YEARS[0] + draws.below(newest - EDITION_YEARS[0])
                changed = {relation.name: _any_value(plot, pool, relation, thing.name)}
                thing.editions.append(Edition(draws.pick(SOURCES), older, changed))


def _any_value(plot: Plot, pool: Mapping[str, Sequence[str]], relation: Relation, subject: str) -> str:
    if relation.numeric:
        return plot.number(relation.value)
    name = plot.draws.pick(pool[relation.value])
    while name == subject:
        name = plot.draws.pick(pool[relation.value])
    return name


def _rosters(things: Iterable[Thing]) -> Mapping[str, list[str]]:
    """Owner -> sentences that list its collections."""
    collected = {collection.relation: collection for collection in COLLECTIONS}
    owned = defaultdict[tuple[str, str], list[str]](list)
    for thing in things:
        for relation in thing.facts.keys() & collected.keys():
            owned[thing.facts[relation], relation].append(thing.name)
    found = defaultdict[str, list[str]](list)
    for (owner, relation), names in sorted(owned.items()):
        found[owner].append(collected[relation].told.format(s=owner, v="; ".join(sorted(names))))
    return found


def _text(thing: Thing, edition: Edition, listed: Sequence[str], draws: Draws) -> str:
    told = [
        draws.pick(relation.told).format(s=thing.name, v=edition.changed.get(relation.name, thing.facts[relation.name]))
        for relation in relations_of(thing.kind)
    ]
    sentences = draws.shuffled([*told, draws.pick(FLAVOUR), draws.pick(FLAVOUR)])
    lead = draws.pick(LEAD[thing.kind]).format(s=thing.name)
    return f"{edition.source}, revised in {edition.year}.\n{lead} {' '.join(sentences)}" + "".join(f"\n{line}" for line in listed)


def _distinct(draws: Draws, low: int, high: int, count: int) -> list[int]:
    """`count` different numbers from low to high, in a random order."""
    found = dict[int, None]()
    while len(found) < count:
        found[low + draws.below(high - low + 1)] = None
    return list(found)
