"""Random houses and goals: rooms joined by doors, places in them, things that lie anywhere, and what is wanted."""

from __future__ import annotations

from typing import Any, NamedTuple

from turnwise.envs.core import Split
from turnwise.envs.draws import Draws
from turnwise.envs.house.catalogue import DEVICES, KNIFE, LAMPS, ROOMS, THINGS, kind_of
from turnwise.envs.house.goals import COMBINATIONS, LOOKS, Goal, sentence

__all__ = ["LEVELS", "Level", "random_house"]


class Level(NamedTuple):
    rooms: int
    goals: int
    twice: bool
    """Whether two things may be wanted."""
    states: tuple[int, ...]
    """How many states a goal may ask for; -1 is a look under a lamp."""
    things: int
    """Things that nobody asks for."""


LEVELS: dict[int, Level] = {
    1: Level(2, 1, False, (0,), 8),
    2: Level(3, 1, False, (1, 1, 1, -1), 12),
    3: Level(5, 2, False, (0, 1, 1, 2, -1), 18),
    4: Level(7, 3, True, (0, 1, 1, 2, -1), 24),
    5: Level(9, 5, True, (1, 1, 2, -1), 30),
}
_OTHERS = tuple(room for room in ROOMS if room != "kitchen")
_KINDS = tuple(THINGS)


def random_house(draws: Draws, difficulty: int, split: Split) -> dict[str, Any]:
    """The metadata of a task: `rooms` (name -> doors and places), `things` (name -> place), `goals`, `said`, `start`."""
    level = LEVELS[difficulty]
    names = draws.shuffled(["kitchen", *draws.shuffled(_OTHERS)[: level.rooms - 1]])
    doors: dict[str, list[str]] = {name: [] for name in names}
    for index, name in enumerate(names[1:], start=1):
        other = names[max(draws.below(index), draws.below(index))]  # rather the last ones: longer ways
        doors[name].append(other)
        doors[other].append(name)
    places = _places(draws, names)
    goals = _goals(draws, level, split, {kind_of(place) for of in places.values() for place in of})
    return {
        "rooms": {name: {"doors": sorted(doors[name]), "places": places[name]} for name in names},
        "things": _things(draws, level, goals, [place for of in places.values() for place in of]),
        "goals": [goal.given for goal in goals],
        "said": sentence(goals, draws),
        "start": draws.pick(names),
    }


def _places(draws: Draws, rooms: list[str]) -> dict[str, list[str]]:
    """Room -> names of its places; numbers count through the house."""
    numbers: dict[str, int] = {}
    found: dict[str, list[str]] = {}
    for room in rooms:
        kinds = [*DEVICES.values()] if room == "kitchen" else []
        for kind, most in ROOMS[room].items():
            kinds += [kind] * (draws.below(most) + 1 if most > 1 else draws.below(5) > 0)
        found[room] = []
        for kind in kinds or ["shelf"]:
            numbers[kind] = numbers.get(kind, 0) + 1
            found[room].append(f"{kind} {numbers[kind]}")
    return found


def _goals(draws: Draws, level: Level, split: Split, places: set[str]) -> list[Goal]:
    """As many as the level asks for, about different kinds of things, all possible with these places."""
    goals, about = list[Goal](), {KNIFE}
    kinds = sorted(places)
    lamps = [LAMPS[kind] for kind in kinds if kind in LAMPS]
    while len(goals) < level.goals:
        states = draws.pick(level.states)
        if states < 0:
            choices = LOOKS.get((split, draws.pick(lamps)), []) if lamps else []
        else:
            choices = COMBINATIONS.get((split, draws.pick(kinds), states), [])
        if choices:
            goal = draws.pick(choices)
            if goal.thing not in about:
                about.add(goal.thing)
                twice = level.twice and not goal.lamp and "sliced" not in goal.states and draws.below(3) == 0
                goals.append(goal._replace(many=2) if twice else goal)
    return goals


def _things(draws: Draws, level: Level, goals: list[Goal], places: list[str]) -> dict[str, str]:
    """Name -> place. Nothing that is wanted somewhere is there yet."""
    kinds = [goal.thing for goal in goals for _ in range(goal.many)]
    if any("sliced" in goal.states for goal in goals):
        kinds.append(KNIFE)
    kinds += [draws.pick(_KINDS) for _ in range(level.things)]
    wanted: dict[str, set[str]] = {}
    for goal in goals:
        wanted.setdefault(goal.thing, set()).add(goal.place)
    numbers: dict[str, int] = {}
    found: dict[str, str] = {}
    for kind in draws.shuffled(kinds):
        place = draws.pick(places)
        while kind_of(place) in wanted.get(kind, ()):
            place = draws.pick(places)
        numbers[kind] = numbers.get(kind, 0) + 1
        found[f"{kind} {numbers[kind]}"] = place
    return dict(sorted(found.items()))
