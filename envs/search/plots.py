"""Questions about a generated world, of rising depth, each with the plot that makes its answer the only one.

    chain         the mayor of the town where the founder of ... was born
    comparison    which of two things, each known by a chain, is older or longer
    intersection  the one thing that has two properties, and something about it
    collection    the sum (of all or some), the most or least, or the number of all ships that a yard built, ...

Things in the middle are not named in the question, so each hop has to be looked up. Where pages contradict each other, the last
sentence says which is right: the one revised last, the last one up to a year, or that of one source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from turnwise.envs.draws import Draws
from turnwise.envs.search.relations import RELATIONS, Relation, relations_of
from turnwise.envs.search.rosters import COLLECTIONS, Collection
from turnwise.envs.search.world import EDITION_YEARS, SOURCES, Plot, Thing, Visit, World, build_world, mention

__all__ = ["LEVELS", "Level", "Story", "described", "make_story", "story_world"]


@dataclass(frozen=True, slots=True)
class Level:
    """What a difficulty level asks for."""

    things: int
    """About so many things have pages."""
    makers: tuple[str, ...]
    """Which kinds of question."""
    hops: int
    """Pages to read before the thing in question (for two things: for each) is known."""
    members: int = 0
    """Things in a collection."""
    contradictions: int = 0
    """Pages on the way that others contradict."""
    versions: int = 2
    """Pages about a thing that is contradicted."""


LEVELS: dict[int, Level] = {
    1: Level(30, ("chain",), 1),
    2: Level(40, ("chain",), 2),
    3: Level(60, ("chain",), 2, contradictions=1),
    4: Level(80, ("chain", "comparison"), 3, contradictions=1),
    5: Level(120, ("comparison", "intersection"), 4, contradictions=1),
    6: Level(160, ("collection",), 2, members=4, contradictions=1),
    7: Level(240, ("collection",), 3, members=6, contradictions=2, versions=3),
    8: Level(400, ("collection",), 4, members=8, contradictions=3, versions=3),
}
_OLDER = {
    "born": ("was born earlier", "was born later"),
    "chartered": ("received its charter earlier", "received its charter later"),
    "established": ("was established earlier", "was established later"),
    "course": ("is shorter", "is longer"),
}
"""Relation -> what the smaller, and the greater, of two is called. The things are of kinds that a chain can lead to."""


@dataclass(frozen=True, slots=True)
class Story:
    """A question, its answer, and the pages that give it, in order."""

    maker: str
    """Which kind of question."""
    question: str
    answer: str
    visits: tuple[Visit, ...]
    plot: Plot


def make_story(seed: int, level: Level) -> Story:
    """The story of a seed; always the same one."""
    plot = Plot(Draws(np.random.default_rng(seed)))
    maker = plot.draws.pick(level.makers)
    question, answer = _MAKERS[maker](plot, level)
    rule = _contradicted(plot, level)
    return Story(maker, f"{question} {rule}".rstrip(), answer, tuple(plot.visits), plot)


@lru_cache(maxsize=64)
def story_world(seed: int, level: Level) -> World:
    """The world of the story of a seed; shared by all who ask for it."""
    return build_world(make_story(seed, level).plot, level.things)


def described(plot: Plot, thing: Thing, hops: int, without: str = "") -> str:
    """Words that name a thing by way of so many others, of which only the first is named; their pages are visits of the plot.

    The last hop is not the relation `without`.
    """
    if not hops:
        return mention(thing)
    relation = plot.draws.pick([r for r in _LEADING[thing.kind, hops > 1] if r.name != without])
    subject = plot.thing(relation.subject)
    subject.facts[relation.name] = thing.name
    phrase = described(plot, subject, hops - 1)
    plot.visit(subject, relation.name)
    return relation.asked.format(phrase)


_REACHED = {relation.value for relation in RELATIONS.values()}
_LEADING = {
    (kind, further): [r for r in RELATIONS.values() if r.value == kind and (not further or r.subject in _REACHED)]
    for kind in _REACHED
    for further in (False, True)
}
"""(kind, whether the subject has to be led to as well) -> relations whose value is of that kind."""


def _asked(relation: Relation, phrase: str) -> str:
    what = "Who is" if relation.value == "person" else "What is" if relation.numeric else "What is the name of"
    return f"{what} {relation.asked.format(phrase)}?"


def _chain(plot: Plot, level: Level) -> tuple[str, str]:
    relation = plot.draws.pick([r for r in RELATIONS.values() if level.hops == 1 or r.subject in _REACHED])
    subject = plot.thing(relation.subject)
    answer = plot.value(relation, subject)
    phrase = described(plot, subject, level.hops - 1)
    plot.visit(subject, relation.name)
    return _asked(relation, phrase), answer


def _comparison(plot: Plot, level: Level) -> tuple[str, str]:
    relation = RELATIONS[plot.draws.pick(list(_OLDER))]
    pair = [plot.thing(relation.subject) for _ in range(2)]
    _distinct_values(plot, relation, pair)
    phrases: list[str] = []
    for thing in pair:
        phrases.append(described(plot, thing, level.hops // 2))
        plot.visit(thing, relation.name)
    greater = plot.draws.below(2)
    answer = sorted(pair, key=lambda thing: int(thing.facts[relation.name]))[greater]
    return f"Which {_OLDER[relation.name][greater]}, {phrases[0]} or {phrases[1]}? Give the name.", answer.name


def _intersection(plot: Plot, level: Level) -> tuple[str, str]:
    draws = plot.draws
    kind = draws.pick(("ship", "bridge", "museum", "novel"))
    first, second = draws.shuffled([r for r in relations_of(kind) if r.which])[:2]
    owners = [plot.thing(first.value), plot.thing(second.value)]
    plot.closed |= {owner.name for owner in owners}
    target = plot.thing(kind)
    others = [plot.thing(kind, like=target) for _ in range(4)]
    target.facts |= {first.name: owners[0].name, second.name: owners[1].name}
    for i, other in enumerate(others):
        other.facts[(first, second)[i % 2].name] = owners[i % 2].name
    phrases = [described(plot, owner, level.hops // 2) for owner in owners]
    asked = draws.pick([r for r in relations_of(kind) if r not in (first, second)])
    answer = plot.value(asked, target)
    plot.visit(target, asked.name)
    properties = " and ".join(r.which.format(p) for r, p in zip((first, second), phrases, strict=True))
    return _asked(asked, f"the {kind} that {properties}"), answer


def _collection(plot: Plot, level: Level) -> tuple[str, str]:
    draws = plot.draws
    collection = draws.pick(COLLECTIONS)
    relation = RELATIONS[collection.relation]
    owner = plot.thing(relation.value)
    plot.closed.add(owner.name)
    phrase = collection.asked.format(described(plot, owner, level.hops, without=collection.relation))
    plot.visit(owner)
    members = [plot.thing(relation.subject)]
    members += [plot.thing(relation.subject, like=members[0]) for _ in range(level.members - 1)]
    for member in members:
        member.facts[relation.name] = owner.name
    return _ASKED[draws.below(len(_ASKED))](plot, collection, members, phrase)


def _sum(plot: Plot, collection: Collection, members: Sequence[Thing], phrase: str) -> tuple[str, str]:
    values = _measured(plot, collection.measure, members)
    return f"What is {collection.total} {phrase}?", str(sum(values))


def _extreme(plot: Plot, collection: Collection, members: Sequence[Thing], phrase: str) -> tuple[str, str]:
    values, greatest = _measured(plot, collection.measure, members), plot.draws.below(2)
    best = members[values.index((max if greatest else min)(values))]
    return f"Which of {phrase} {collection.most if greatest else collection.least}? Give the name.", best.name


def _sum_of_some(plot: Plot, collection: Collection, members: Sequence[Thing], phrase: str) -> tuple[str, str]:
    values, years = _measured(plot, collection.measure, members), _measured(plot, collection.when, members)
    bound = sorted(years)[2 + plot.draws.below(len(years) - 2)]
    total = sum(value for value, year in zip(values, years, strict=True) if year < bound)
    return f"What is {collection.total} those of {phrase} that were {collection.when} before {bound}?", str(total)


def _count(plot: Plot, collection: Collection, members: Sequence[Thing], phrase: str) -> tuple[str, str]:
    years = sorted(_measured(plot, collection.when, members))
    count = 1 + plot.draws.below(len(members) - 1)
    return f"How many of {phrase} were {collection.when} before {years[count]}? Give the number.", str(count)


_ASKED = (*(_sum, _extreme, _sum_of_some) * 5, _count)
"""A small number can be guessed, so counting is rare."""


def _measured(plot: Plot, name: str, members: Sequence[Thing]) -> list[int]:
    """Different values of a relation for the members, each of which has to be read."""
    values = _distinct_values(plot, RELATIONS[name], members)
    for member in members:
        plot.visit(member, name)
    return values


def _distinct_values(plot: Plot, relation: Relation, things: Sequence[Thing]) -> list[int]:
    values = list[int]()
    for thing in things:
        number = int(plot.number(relation.value))
        while number in values:
            number = int(plot.number(relation.value))
        values.append(number)
        thing.facts[relation.name] = str(number)
    return values


_MAKERS: dict[str, Callable[[Plot, Level], tuple[str, str]]] = {
    "chain": _chain,
    "comparison": _comparison,
    "intersection": _intersection,
    "collection": _collection,
}


def _contradicted(plot: Plot, level: Level) -> str:
    """Let other pages contradict some of those on the way; the sentence that says which is right."""
    if not level.contradictions:
        return ""
    draws = plot.draws
    told = draws.shuffled([visit for visit in plot.visits if visit.relation])
    changing = [visit for visit in told if RELATIONS[visit.relation].varies]
    by_year = bool(changing) and draws.uniform() < 0.7
    chosen = (changing if by_year else told)[: level.contradictions]
    if by_year and draws.uniform() < 0.5:
        until = 2008 + draws.below(10)
        sides = [(EDITION_YEARS[0], until), (until + 1, EDITION_YEARS[1])]
        for visit in chosen:
            older = _years(draws, *sides[0], level.versions - 1)
            plot.contradict(visit, _edited(draws, [older[-1], *_years(draws, *sides[1], 1), *older[:-1]]))
        return f"Give the state of {until}: where pages contradict each other, the last one revised up to then is right."
    if by_year:
        for visit in chosen:
            plot.contradict(visit, _edited(draws, _years(draws, *EDITION_YEARS, level.versions)[::-1]))
        return "Where pages contradict each other, the one revised last is right."
    right, *others = draws.shuffled(SOURCES)
    for visit in chosen:
        years = draws.shuffled(_years(draws, *EDITION_YEARS, level.versions))
        plot.contradict(visit, list(zip([right, *others], years, strict=False)))
    return f"Where pages contradict each other, the {right} is right."


def _years(draws: Draws, low: int, high: int, count: int) -> list[int]:
    """Different years, rising."""
    return sorted(draws.shuffled(range(low, high + 1))[:count])


def _edited(draws: Draws, years: Sequence[int]) -> list[tuple[str, int]]:
    return [(draws.pick(SOURCES), year) for year in years]
