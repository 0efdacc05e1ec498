"""The expert: it knows where everything is, works at one goal after the other, and can go on from any state."""

from __future__ import annotations

from collections.abc import Iterable

from turnwise.envs.house.catalogue import DEVICES, INSIDE, KNIFE, LAMPS, kind_of
from turnwise.envs.house.goals import Goal
from turnwise.envs.house.world import World

__all__ = ["next_command"]

_WORDS = {"clean": "wash", "hot": "heat", "cold": "cool"}


def next_command(world: World) -> str:
    """The next command on a way to all goals; "look" where there is nothing left to do."""
    open_goals = [goal for goal, met in zip(world.goals, world.met(), strict=True) if not met]
    if not open_goals:
        return "look"
    held = kind_of(world.held)
    goal = next((goal for goal in open_goals if goal.thing == held), open_goals[0])
    thing = _chosen(world, goal)
    missing = [state for state in goal.states if state not in world.states.get(thing, ())]
    if "sliced" in missing:
        return _to_slice(world, thing)
    if world.held != thing:
        return _put_down(world) if world.held else _reached(world, world.where[thing]) or f"take {thing} from {world.at}"
    if missing:
        return (
            _reached(world, _nearest(world, DEVICES[missing[0]]), opened=False) or f"{_WORDS[missing[0]]} {thing} with {world.at}"
        )
    if goal.lamp:
        place = _nearest(world, next(kind for kind, lamp in LAMPS.items() if lamp == goal.place))
        return _reached(world, place, opened=False) or f"turn on {world.lamp(place)}"
    return _reached(world, _nearest(world, goal.place)) or _put(world)


def _chosen(world: World, goal: Goal) -> str:
    """The thing to bring: the one held, else the nearest of those that are not in place; sliced ones first."""
    if kind_of(world.held) == goal.thing:
        return world.held
    done = [] if goal.lamp else world.placed(goal)
    things = [thing for thing in world.where if kind_of(thing) == goal.thing and thing not in done]
    sliced = [thing for thing in things if "sliced" in world.states.get(thing, ())] if "sliced" in goal.states else []
    return min(sliced or things, key=lambda thing: (_away(world, world.where[thing]), thing))


def _to_slice(world: World, thing: str) -> str:
    """With a knife in the hand, to where it lies; what is held otherwise is put down first."""
    if kind_of(world.held) == KNIFE:
        return _reached(world, world.where[thing]) or f"slice {thing} with {world.held}"
    if world.held:
        return _put_down(world)
    knives = [name for name in world.where if kind_of(name) == KNIFE]
    knife = min(knives, key=lambda name: (_away(world, world.where[name]), name))
    return _reached(world, world.where[knife]) or f"take {knife} from {world.at}"


def _put_down(world: World) -> str:
    """Where one is, or in the first place of the room."""
    return _reached(world, world.at or world.house.places[world.room][0]) or _put(world)


def _put(world: World) -> str:
    return f"put {world.held} {'in' if kind_of(world.at) in INSIDE else 'on'} {world.at}"


def _reached(world: World, place: str, *, opened: bool = True) -> str:
    """The next command on the way to a place, opened if need be; "" where one is there."""
    room = world.house.room_of[place]
    if room != world.room:
        return f"go to {world.house.step[world.room][room][1]}"
    if world.at != place:
        return f"go to {place}"
    return f"open {place}" if opened and world.closed(place) else ""


def _away(world: World, place: str) -> tuple[int, bool]:
    """How far a place is."""
    return world.house.step[world.room][world.house.room_of[place]][0], place != world.at


def _nearest(world: World, kind: str) -> str:
    places: Iterable[str] = (place for place in world.house.room_of if kind_of(place) == kind)
    return min(places, key=lambda place: (_away(world, place), place))
