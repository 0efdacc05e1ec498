"""Questions for a router: what is asked, the models that may be asked, and the cheapest way to the answer.

A case is made of one or two chains of facts (`turnwise.envs.search.plots`: a chain, or a comparison of the ends of two). Each
fact is known by some model, all of them perhaps by none. A call for several facts in a row needs a model that knows all of those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count

import numpy as np

from turnwise.envs.draws import Draws
from turnwise.envs.search.answers import normalised
from turnwise.envs.search.experts import FIELDS, Facts, Model, Path, believed, knows, price_of_call
from turnwise.envs.search.plots import Level as StoryLevel
from turnwise.envs.search.plots import make_story
from turnwise.envs.search.relations import RELATIONS
from turnwise.seeds import child

__all__ = ["LEVELS", "Call", "Case", "Level", "make_case"]


@dataclass(frozen=True, slots=True)
class Level:
    """What a difficulty level asks for."""

    story: StoryLevel
    models: int


LEVELS: dict[int, Level] = {
    1: Level(StoryLevel(0, ("chain",), 1), 3),
    2: Level(StoryLevel(0, ("chain",), 2), 3),
    3: Level(StoryLevel(0, ("chain",), 3), 4),
    4: Level(StoryLevel(0, ("comparison",), 2), 4),
    5: Level(StoryLevel(0, ("chain",), 5), 5),
    6: Level(StoryLevel(0, ("comparison",), 4), 6),
    7: Level(StoryLevel(0, ("comparison",), 6), 8),
}
_NAMES = (
    *("Alcor", "Bellatrix", "Capella", "Deneb", "Electra", "Fomalhaut", "Gemma", "Hadar", "Izar", "Kochab", "Lesath", "Mirach"),
    *("Naos", "Okul", "Polaris", "Regulus", "Sirius", "Tarazed", "Vega", "Wezen", "Zaurak"),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One question to one model."""

    model: str
    question: str


@dataclass(frozen=True)
class Case:
    """A question and its models."""

    seed: int
    """Of what the models know and make up."""
    question: str
    answer: str
    kinds: Mapping[str, str]
    """Thing -> kind, of all things on the way."""
    facts: Facts
    chains: tuple[Path, ...]
    """One, or the two whose last values are compared; the answer is then the thing before the last value."""
    greater: bool
    """Whether the greater of two is asked for."""
    models: tuple[Model, ...]

    @property
    def size(self) -> int:
        """Facts of the whole question."""
        return sum(len(chain.relations) for chain in self.chains)

    @cached_property
    def words(self) -> str:
        """The question without what does not matter."""
        return normalised(self.question)

    @cached_property
    def way(self) -> tuple[float, tuple[Call, ...]]:
        """(cents, calls) of the cheapest calls that say all that the answer needs."""
        parts = [self._way_along(chain) for chain in self.chains]
        ways = [(sum(cost for cost, _ in parts), tuple(call for _, calls in parts for call in calls))]
        for model in self.models:
            if self.reply(model) == self.answer:
                ways.append((price_of_call(model, self.size), (Call(model.name, self.question),)))
        return min(ways, key=lambda way: way[0])

    @property
    def dearest(self) -> float:
        """Cents for every fact by itself from whoever is dearest."""
        return max(price_of_call(model, 1) for model in self.models) * self.size

    def reply(self, model: Model) -> str | None:
        """What a model says to the whole question; None if it does not know."""
        if len(self.chains) == 1:
            return believed(self.seed, self.facts, model, self.kinds[self.chains[0].start], self.chains[0])
        ends: list[tuple[int, str]] = []
        for chain in self.chains:
            kind = self.kinds[chain.start]
            name = believed(self.seed, self.facts, model, kind, Path(chain.start, chain.relations[:-1]))
            value = believed(self.seed, self.facts, model, kind, chain)
            if name is None or value is None:
                return None
            ends.append((int(value), name))
        return sorted(ends)[self.greater][1]

    def things_along(self, chain: Path) -> list[str]:
        """[facts + 1] the thing at the start, those on the way, the last value."""
        things = [chain.start]
        for relation in chain.relations:
            things.append(self.facts[things[-1]][relation])
        return things

    def _way_along(self, chain: Path) -> tuple[float, tuple[Call, ...]]:
        """The cheapest calls for a chain; where two are compared, the one that is the answer must be heard by name."""
        things = self.things_along(chain)
        heard = len(self.chains) == 2 and things[-2] == self.answer
        knows = [[self._knows(model, *fact) for fact in zip(things, chain.relations, strict=False)] for model in self.models]
        best: list[tuple[float, tuple[Call, ...]]] = [(0.0, ())]
        for end in range(1, len(things)):
            ways: list[tuple[float, tuple[Call, ...]]] = []
            for begin in range(end):
                if heard and end == len(things) - 1 and begin < end - 1:
                    continue
                relations = chain.relations[begin:end]
                for model, known in zip(self.models, knows, strict=True):
                    if all(known[begin:end]):
                        call = Call(model.name, self._asked(things[begin], relations))
                        ways.append((best[begin][0] + price_of_call(model, end - begin), (*best[begin][1], call)))
            best.append(min(ways, key=lambda way: way[0]))
        return best[-1]

    def _knows(self, model: Model, thing: str, relation: str) -> bool:
        return knows(self.seed, model, self.kinds[thing], thing, relation)

    def _asked(self, thing: str, relations: Sequence[str]) -> str:
        phrase = thing
        for relation in relations:
            phrase = RELATIONS[relation].asked.format(phrase)
        return f"{'Who' if RELATIONS[relations[-1]].value == 'person' else 'What'} is {phrase}?"


@lru_cache(maxsize=256)
def make_case(seed: int, level: int) -> Case:
    """The case of a seed; always the same one."""
    story = make_story(seed, LEVELS[level].story)
    kinds = {name: thing.kind for name, thing in story.plot.things.items()}
    facts = {name: dict(thing.facts) for name, thing in story.plot.things.items() if thing.facts}
    draws = Draws(np.random.default_rng(child(seed, "models")))
    models = _models(draws, [FIELDS[kinds[visit.thing]] for visit in story.visits], LEVELS[level].models)
    luck = next(
        luck
        for luck in (child(seed, "luck", attempt) for attempt in count())
        if all(any(knows(luck, m, kinds[v.thing], v.thing, v.relation) for m in models) for v in story.visits)
    )
    halves = 2 if story.maker == "comparison" else 1
    size = len(story.visits) // halves
    parts = [story.visits[at * size : (at + 1) * size] for at in range(halves)]
    chains = tuple(Path(part[0].thing, tuple(visit.relation for visit in part)) for part in parts)
    ends = {part[-1].thing: int(facts[part[-1].thing][part[-1].relation]) for part in parts} if halves == 2 else {}
    greater = bool(ends) and ends[story.answer] == max(ends.values())
    return Case(luck, story.question, story.answer, kinds, facts, chains, greater, models)


def _models(draws: Draws, fields: Sequence[str], count: int) -> tuple[Model, ...]:
    """A dear one that is good at all, a cheap one that is fair at all, and specialists for all fields asked for."""
    everything = tuple(FIELDS.values())
    names = iter(draws.shuffled(_NAMES))
    models = [
        _model(next(names), draws, (6.0, 12.0), dict.fromkeys(everything, "good")),
        _model(next(names), draws, (0.1, 0.4), dict.fromkeys(everything, "fair")),
    ]
    wanted, specialists = list(dict.fromkeys(fields)), count - len(models)
    for at in range(specialists):
        own = wanted[at::specialists] or [draws.pick(everything)]
        second = {draws.pick(everything): "good"}
        models.append(_model(next(names), draws, (0.8, 4.0), second | dict.fromkeys(own, "excellent")))
    return tuple(draws.shuffled(models))


def _model(name: str, draws: Draws, prices: tuple[float, float], skills: Mapping[str, str]) -> Model:
    price = prices[0] + draws.uniform() * (prices[1] - prices[0])
    return Model(name, round(price, 2), 40 + 10 * draws.below(17), draws.uniform() < 0.5, skills)
