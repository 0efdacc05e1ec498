"""What is wanted: goals as records, in words, and which of them are for training and which for testing.

A goal's combination (what is done to which kind of thing, and where it is to go) is in one split alone, by a hash of its name:
what is tested was never trained. A task asks for one goal or several, all of its split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from turnwise.envs.core import split_of
from turnwise.envs.draws import Draws
from turnwise.envs.house.catalogue import INSIDE, KNIFE, LAMPS, STATES, THINGS

__all__ = ["COMBINATIONS", "LOOKS", "Goal", "combination", "sentence"]


class Goal(NamedTuple):
    """`many` things of a kind, in these states, in places of a kind; with a lamp as `place`, one looked at in its light."""

    thing: str
    place: str
    states: tuple[str, ...] = ()
    many: int = 1

    @property
    def lamp(self) -> bool:
        return self.place.endswith("lamp")

    @property
    def given(self) -> list[Any]:
        """For a task's metadata."""
        return [self.thing, self.place, list(self.states), self.many]

    @staticmethod
    def made(given: Sequence[Any]) -> Goal:
        """From a task's metadata."""
        thing, place, states, many = given
        return Goal(str(thing), str(place), tuple(map(str, states)), int(many))


def combination(goal: Goal) -> str:
    """What decides the split: its name, however many are wanted."""
    return f"house/{'+'.join(goal.states) or 'plain'}/{goal.thing}/{goal.place}"


def _all() -> tuple[Mapping[Any, list[Goal]], Mapping[Any, list[Goal]]]:
    puts: dict[Any, list[Goal]] = defaultdict(list)
    looks: dict[Any, list[Goal]] = defaultdict(list)
    for kind, thing in THINGS.items():
        single = [()] + [(state,) for state in sorted(thing.states)]
        double = [(state, "sliced") for state in ("clean", "cold", "hot")] if "sliced" in thing.states else []
        for place in thing.places:
            for states in (*single, *double):
                if not (states == ("clean",) and place == "sink"):
                    goal = Goal(kind, place, states)
                    puts[split_of(combination(goal)), place, len(states)].append(goal)
        for lamp in LAMPS.values() if thing.looked_at else ():
            goal = Goal(kind, lamp)
            looks[split_of(combination(goal)), lamp].append(goal)
    return puts, looks


COMBINATIONS, LOOKS = _all()
"""(split, kind of place, number of states) -> goals for one thing; (split, lamp) -> goals."""

_DO_WORDS = {"clean": "wash", "hot": "heat", "cold": "cool", "sliced": "slice"}


def sentence(goals: Sequence[Goal], draws: Draws) -> str:
    """The goals in words, worded in one of several ways."""
    said = [_said(goal, draws) for goal in goals]
    return f"{said[0][0].upper()}{said[0][1:]}{''.join(f'; {part}' for part in said[1:])}."


def _said(goal: Goal, draws: Draws) -> str:
    if goal.lamp:
        return draws.pick(
            (f"look at {_a(goal.thing)} under {_a(goal.place)}", f"examine {_a(goal.thing)} in the light of {_a(goal.place)}")
        )
    to = f"{'in' if goal.place in INSIDE else 'on'} {_a(goal.place)}"
    verb = draws.pick(("put", "place"))
    states = [STATES[state] for state in goal.states]
    if goal.many == 2:
        many = " ".join(["two", *states, _plural(goal.thing)])
        return f"{verb} {many} {to}"
    if states and draws.below(2):
        first = " and ".join(_DO_WORDS[state] for state in sorted(goal.states, key="sliced".__ne__))
        return f"{first} {_a(goal.thing)} and {verb} it {to}"
    return f"{verb} {_a(' '.join([*states, goal.thing]))} {to}"


def _a(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


_PLURALS = {KNIFE: "knives", "tomato": "tomatoes", "potato": "potatoes", "peach": "peaches", "watch": "watches", "loaf": "loaves"}


def _plural(kind: str) -> str:
    return _PLURALS.get(kind) or (f"{kind}es" if kind.endswith(("s", "x", "ch")) else f"{kind}s")
