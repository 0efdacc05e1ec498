"""The state of a house and what one can do in it. An action returns what is said of it; what cannot be done changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from turnwise.envs.house.catalogue import CLOSED, DEVICES, INSIDE, KNIFE, LAMPS, ROOMS, STATES, THINGS, kind_of
from turnwise.envs.house.goals import Goal

__all__ = ["House", "World", "listed"]

_DONE = {"clean": "wash", "hot": "heat", "cold": "cool"}


class House:
    """What never changes: rooms, doors, places, and the way from each room to each other."""

    def __init__(self, rooms: Mapping[str, Any]) -> None:
        """From a task's metadata; raises KeyError, TypeError or ValueError for what is no house."""
        self.doors = {room: list[str](given["doors"]) for room, given in rooms.items()}
        self.places = {room: list[str](given["places"]) for room, given in rooms.items()}
        self.room_of = {place: room for room, places in self.places.items() for place in places}
        known = set(DEVICES.values()) | {kind for kinds in ROOMS.values() for kind in kinds}
        if not set(rooms) <= set(ROOMS) or not {kind_of(place) for place in self.room_of} <= known:
            raise ValueError("a house is made of the rooms and places of the catalogue")
        if len(self.room_of) != sum(map(len, self.places.values())):
            raise ValueError("every place has its own name")
        self.step = {room: self._steps(room) for room in rooms}
        """Room -> room -> (rooms on the way, the first of them)."""
        self.exits = {room: _exits(doors) for room, doors in self.doors.items()}
        """What is said of the doors of a room."""
        if any(len(steps) != len(rooms) for steps in self.step.values()):
            raise ValueError("every room can be reached from every other")

    def __deepcopy__(self, memo: object) -> House:
        return self

    def _steps(self, start: str) -> dict[str, tuple[int, str]]:
        found, edge = {start: (0, start)}, [start]
        for room in edge:  # grows while it is read: breadth first
            for beside in self.doors[room]:
                if beside not in found:
                    away, first = found[room]
                    found[beside] = (away + 1, beside if room == start else first)
                    edge.append(beside)
        return found


class World:
    """A house, where things are and how they are, and the person in it, who carries one thing."""

    def __init__(self, house: House, things: Mapping[str, str], start: str, goals: Iterable[Goal]) -> None:
        self.house, self.room, self.at, self.held = house, start, "", ""
        self.where = dict(things)
        self.states: dict[str, frozenset[str]] = {}
        """Thing -> its states, of those that have any."""
        self.open: frozenset[str] = frozenset()
        self.lit: frozenset[str] = frozenset()
        self.goals = tuple(goals)
        self.named_so = {goal.thing: [thing for thing in things if kind_of(thing) == goal.thing] for goal in self.goals}
        """Kind of a wanted thing -> the things of that kind."""
        self.looked: frozenset[Goal] = frozenset()
        """Goals of looking that are done."""
        if start not in house.doors or not set(self.where.values()) <= set(house.room_of):
            raise ValueError("things and the start are in the house")
        if not {kind_of(thing) for thing in self.where} <= set(THINGS):
            raise ValueError("things are those of the catalogue")
        if not self.goals or not all(map(self._possible, self.goals)):
            raise ValueError("there are goals, about things and places of the house")

    def _possible(self, goal: Goal) -> bool:
        kinds = {kind_of(place) for place in self.house.room_of}
        lamps = {LAMPS[kind] for kind in kinds if kind in LAMPS}
        able = set(goal.states) <= THINGS[goal.thing].states
        return goal.place in kinds | lamps and able and 1 <= goal.many <= len(self.named_so[goal.thing])

    # --- what there is --------------------------------------------------------------------------------------------

    def lamp(self, place: str) -> str:
        """The lamp that stands there, "" for none; it has the number of its place."""
        kind = LAMPS.get(kind_of(place), "")
        return f"{kind} {place.rpartition(' ')[2]}" if kind else ""

    def closed(self, place: str) -> bool:
        return kind_of(place) in CLOSED and place not in self.open

    def things_at(self, place: str) -> list[str]:
        return [thing for thing, at in self.where.items() if at == place]

    def here(self) -> list[str]:
        """Things within reach, other than what one holds."""
        return [] if not self.at or self.closed(self.at) else self.things_at(self.at)

    def met(self) -> list[bool]:
        """Which goals are reached now."""
        return [goal in self.looked if goal.lamp else len(self.placed(goal)) >= goal.many for goal in self.goals]

    def placed(self, goal: Goal) -> list[str]:
        """Things that are as and where a goal wants them."""
        return [
            thing
            for thing in self.named_so[goal.thing]
            if kind_of(self.where.get(thing, "")) == goal.place and self.states.get(thing, _NONE) >= {*goal.states}
        ]

    # --- what is said ---------------------------------------------------------------------------------------------

    def look(self) -> str:
        """The room, and the place where one is."""
        places = listed([f"{place} (open)" if place in self.open else place for place in self.house.places[self.room]])
        text = f"You are in the {self.room}. You see {places}. {self.house.exits[self.room]}."
        return f"{text} {self.place_text()}" if self.at else text

    def place_text(self) -> str:
        """The place where one is."""
        at = self.at
        if self.closed(at):
            return f"You are at {at}. It is closed."
        lamp = self.lamp(at)
        light = f" A {lamp} stands there; it is {'on' if lamp in self.lit else 'off'}." if lamp else ""
        return f"You are at {at}. {self.contents(at)}{light}"

    def contents(self, place: str) -> str:
        there = listed([self.named(thing) for thing in self.things_at(place)])
        return f"{'In' if kind_of(place) in INSIDE else 'On'} it you see {there}."

    def named(self, thing: str) -> str:
        """With its states: `apple 1 (hot, sliced)`."""
        states = self.states.get(thing)
        return f"{thing} ({', '.join([STATES[state] for state in sorted(states)])})" if states else thing

    def inventory(self) -> str:
        return f"You carry {listed([self.named(self.held)])}." if self.held else "You carry nothing."

    # --- actions --------------------------------------------------------------------------------------------------

    def go(self, to: str) -> str:
        """To a room next door, or to a place in this room."""
        if to == self.room:
            return f"You are in the {to} already."
        if to in self.house.doors:
            if to not in self.house.doors[self.room]:
                return f"No door leads from here to the {to}. {self.house.exits[self.room]}."
            self.room, self.at = to, ""
            return self.look()
        self.at = to
        return self._after(self.place_text())

    def open_up(self, place: str) -> str:
        if kind_of(place) not in CLOSED:
            return f"{place.capitalize()} cannot be opened or closed."
        if place in self.open:
            return f"{place.capitalize()} is open already. {self.contents(place)}"
        self.open |= {place}
        return f"You open {place}. {self.contents(place)}"

    def close(self, place: str) -> str:
        if kind_of(place) not in CLOSED:
            return f"{place.capitalize()} cannot be opened or closed."
        if place not in self.open:
            return f"{place.capitalize()} is closed already."
        self.open -= {place}
        return f"You close {place}."

    def take(self, thing: str) -> str:
        if self.held:
            return f"Your hands are full: you carry {self.held}. Put it down first."
        self.held = thing
        del self.where[thing]
        return self._after(f"You take {self.named(thing)} from {self.at}.")

    def put(self) -> str:
        """What one holds, where one is."""
        thing, at = self.held, self.at
        if self.closed(at):
            return f"{at.capitalize()} is closed; open it first."
        self.held = ""
        self.where[thing] = at
        return f"You put {self.named(thing)} {'in' if kind_of(at) in INSIDE else 'on'} {at}."

    def treat(self, state: str) -> str:
        """Make what one holds clean, hot or cold with the device where one is."""
        thing, verb, device = self.held, _DONE[state], DEVICES[state]
        if kind_of(self.at) != device:
            return f"To {verb} something, be at a {device}."
        if state not in THINGS[kind_of(thing)].states:
            return f"{thing.capitalize()} is nothing to {verb}."
        before = self.states.get(thing, _NONE)
        other = {"hot": "cold", "cold": "hot"}.get(state, "")
        self.states[thing] = (before - {other}) | {state}
        return f"You {verb} {thing} with {self.at}."

    def slice(self, thing: str) -> str:
        """Something that lies here, with the knife one holds."""
        if kind_of(self.held) != KNIFE:
            return f"To slice something, hold a {KNIFE} and be where it lies."
        if "sliced" not in THINGS[kind_of(thing)].states:
            return f"{thing.capitalize()} is nothing to slice."
        if "sliced" in self.states.get(thing, _NONE):
            return f"{thing.capitalize()} is sliced already."
        self.states[thing] = self.states.get(thing, _NONE) | {"sliced"}
        return f"You slice {thing} with {self.held}."

    def switch(self, on: bool | None) -> str:
        """The lamp where one is: on, off, or (None) the other way."""
        lamp = self.lamp(self.at)
        if not lamp:
            return "There is no lamp here." if self.at else "There is no lamp within reach: go to where one stands."
        on = lamp not in self.lit if on is None else on
        if on == (lamp in self.lit):
            return f"{lamp.capitalize()} is {'on' if on else 'off'} already."
        self.lit = self.lit | {lamp} if on else self.lit - {lamp}
        return self._after(f"You turn {lamp} {'on' if on else 'off'}.")

    def _after(self, text: str) -> str:
        """Takes down that what one holds is seen in a lamp's light."""
        return self.seen(self.held, text) if self.held else text

    def seen(self, thing: str, text: str) -> str:
        """`text`, and that the thing is looked at in the light of the lamp that stands here, if it is on."""
        lamp = self.lamp(self.at)
        if lamp not in self.lit:
            return text
        goal = Goal(kind_of(thing), kind_of(lamp))
        if goal in self.goals:
            self.looked |= {goal}
        return f"{text} You look at {thing} in the light of {lamp}."


_NONE: frozenset[str] = frozenset()


def _exits(doors: list[str]) -> str:
    rooms = listed([f"the {room}" for room in doors])
    return f"Doors lead to {rooms}" if len(doors) > 1 else f"A door leads to {rooms}"


def listed(names: list[str]) -> str:
    """`mug 1, apple 2 and fork 1`; "nothing" for none."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or "nothing"
