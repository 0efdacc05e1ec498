"""turnwise/TextHouse-v0: a household in words: find things, wash, heat, cool, slice, look at them, put them where they belong.

Up to nine rooms with their places (counters, cabinets, beds, desks, ...), many of them closed, and things that lie anywhere. One
sees the room, and what is in or on the place where one stands: to find something one has to go and open. Goals are those of
ALFWorld and more: put a thing somewhere; washed, hot or cold; two of them; look at it under a lamp; sliced, also sliced and
washed, hot or cold; and several goals in one task. Judged is the state of the house: all goals have to hold at the same time.

What is done to which kind of thing and where it is to go is in one split alone, train or test, so that test tasks ask for what
was never trained, in houses that were never seen.

    level  rooms  goals  of a goal
      1      2      1    a thing as it is
      2      3      1    washed, hot, cold, sliced, or looked at under a lamp
      3      5      2    up to two states
      4      7      3    also two things
      5      9      5    also two things, none of them as it is

The hands hold one thing. Replies are forgiving: case, articles and synonyms do not matter, nor does the number where only one
thing can be meant. The expert knows the whole house and goes on from any state.
"""

from __future__ import annotations

import numpy as np
from gymnasium.error import ResetNeeded
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition, TurnEnv, seed_in, split_of
from turnwise.envs.draws import Draws
from turnwise.envs.house.catalogue import CLOSED, DEVICES, INSIDE, KNIFE, STATES, THINGS, kind_of
from turnwise.envs.house.commands import HELP, Command, read_command
from turnwise.envs.house.expert import next_command
from turnwise.envs.house.generator import LEVELS, random_house
from turnwise.envs.house.goals import Goal
from turnwise.envs.house.world import House, World, listed
from turnwise.envs.options import TurnOptions
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["LEVELS", "TextHouse"]

_CHANGES = frozenset(("take", "put", "clean", "hot", "cold", "slice"))
"""Verbs after which other things may be as and where they are wanted."""


class TextHouse(TurnEnv):
    """Reward 1 when all goals hold, else 0. A reply is one command, in an answer tag or as the last line.

    admissible: whether each observation ends with the commands that can be done now.
    progress_reward: p of 0 to 1; the term `progress` pays p times the share of goals by which more hold than ever before.
    """

    levels = range(1, len(LEVELS) + 1)
    default_level = 2

    def __init__(
        self, *, admissible: bool = False, progress_reward: float = 0.0, instructions: bool = True, **options: Unpack[TurnOptions]
    ) -> None:
        """`instructions=False` leaves the list of commands out of the first observation."""
        super().__init__(**options)
        if not 0.0 <= progress_reward <= 1.0:
            raise ConfigError(
                f"TextHouse: progress_reward must be from 0 to 1, so that it never exceeds solving; got {progress_reward!r}."
            )
        self.admissible, self.progress_reward = admissible, float(progress_reward)
        self.instructions = instructions
        self.world: World
        self._best = self._met = 0
        self._transcript: list[str] = []

    # --- tasks ----------------------------------------------------------------------------------------------------

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return _task(difficulty, int(rng.integers(2**63)))

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        """Aims at the split: only the house that is played is built, and its goals are of that split."""
        return _task(difficulty, seed_in(split, rng, lambda seed: _id_of(difficulty, seed)))

    @override
    def turn_limit(self, task: Task) -> int:
        """Enough to visit and open every place once, and 16 for each thing that is wanted."""
        try:
            places = [place for room in task.metadata["rooms"].values() for place in room["places"]]
            things = sum(goal[3] for goal in task.metadata["goals"])
            return 10 + len(places) + sum(kind_of(place) in CLOSED for place in places) + 16 * things
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise _foreign(task, error) from error

    @override
    def begin(self, task: Task) -> str:
        try:
            given = task.metadata
            goals = [Goal.made(goal) for goal in given["goals"]]
            self.world = World(House(given["rooms"]), given["things"], given["start"], goals)
            said = str(given["said"])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise _foreign(task, error) from error
        self._best = self._met = sum(self.world.met())
        look = self._with_commands(f"{self.world.look()} {self.world.inventory()}")
        text = f"Your task: {said}\n\n{look}"
        self._transcript = [text]
        return f"{self.rules()}\n\n{text}" if self.instructions else text

    def rules(self) -> str:
        """The paragraph above the task."""
        return (
            "You are in a house and have a task. Reply with one command each turn, for example <answer>go to kitchen</answer>.\n"
            f"{HELP}\nYou see what is in or on the place where you are; closed places have to be opened. You carry one thing at "
            f"a time. Things are washed at a {DEVICES['clean']}, heated at a {DEVICES['hot']} and cooled at a {DEVICES['cold']}, "
            f"while you hold them. To slice something, hold a {KNIFE} and be where it lies. To look at something under a lamp, "
            "hold it where the lamp stands and turn the lamp on. When a task names several things, all must hold at the end."
        )

    # --- play -----------------------------------------------------------------------------------------------------

    @override
    def play(self, action: str) -> Transition:
        command = read_command(action)
        if isinstance(command, str):
            self._transcript += [f"> {action[:200]}", command]
            return self.refuse(command)
        looked = self.world.looked
        text = self._done(command)
        if command.verb in _CHANGES or self.world.looked is not looked:
            self._met = sum(self.world.met())
        goals, terms = len(self.world.goals), dict[str, float]()
        if self.progress_reward and self._met > self._best:
            terms["progress"] = self.progress_reward * (self._met - self._best) / goals
        self._best = max(self._best, self._met)
        solved = self._met == goals
        if solved:
            text, terms["solved"] = f"{text} The task is done.", 1.0
        elif self.admissible:
            text = self._with_commands(text)
        self._transcript += [f"> {action[:200]}", text]
        return Transition(text, sum(terms.values()), solved, float(solved), terms)

    def _done(self, command: Command) -> str:
        """Does it, and what is said about it."""
        world, verb, what = self.world, command.verb, command.what
        if verb == "look":
            return world.look()
        if verb == "inventory":
            return world.inventory()
        if verb == "help":
            return HELP
        if verb == "go":
            return self._go(what)
        if verb in ("open", "close"):
            return self._open_or_close(verb, what)
        if verb in ("on", "off", "switch"):
            return self._switch(verb, what)
        if verb in ("put", "clean", "hot", "cold") and not world.held:
            return "You carry nothing."
        if wrong := self._elsewhere(command.where):
            return wrong
        if verb == "examine":
            return self._examine(what)
        if verb == "take":
            thing, wrong = self._one(what, world.here(), "see")
            if not thing and world.held and self._is(what, world.held):
                return f"You carry {world.held} already."
            return world.take(thing) if thing else wrong
        if verb == "slice":
            thing, wrong = self._one(what, world.here(), "see")
            return world.slice(thing) if thing else wrong
        if not self._is(what, world.held):
            return f"You do not carry {what[:40]!r}; you carry {world.held}."
        if not world.at:
            return "You are at no place of the room; go to one first."
        return world.put() if verb == "put" else world.treat(verb)

    def _go(self, what: str) -> str:
        world = self.world
        room = what.removesuffix(" door")
        if room in world.house.doors:
            return world.go(room)
        places = world.house.places[world.room]
        lamps = {world.lamp(place): place for place in places if world.lamp(place)}
        name, wrong = self._one(what, [*places, *lamps], "see")
        return world.go(lamps.get(name, name)) if name else wrong

    def _open_or_close(self, verb: str, what: str) -> str:
        world = self.world
        name, wrong = (
            (world.at, "") if world.at and self._is(what, world.at) else self._one(what, world.house.places[world.room], "see")
        )
        if not name:
            return wrong
        if name != world.at:
            return f"You are not at {name}; go to it first."
        return world.open_up(name) if verb == "open" else world.close(name)

    def _switch(self, verb: str, what: str) -> str:
        lamp = self.world.lamp(self.world.at)
        if lamp and not (self._is(what, lamp) or what in ("lamp", "light")):
            return f"Here stands {lamp}, no {what[:40]!r}."
        return self.world.switch({"on": True, "off": False}.get(verb))

    def _examine(self, what: str) -> str:
        world = self.world
        if world.at and self._is(what, world.at):
            return world.place_text()
        lamp = world.lamp(world.at)
        if lamp and self._is(what, lamp):
            return f"{lamp.capitalize()} is {'on' if lamp in world.lit else 'off'}."
        thing, wrong = self._one(what, [*([world.held] if world.held else []), *world.here()], "see")
        if not thing:
            return wrong
        states = [STATES[state] for state in sorted(world.states.get(thing, ()))]
        return world.seen(thing, f"{thing.capitalize()} is {' and '.join(states) if states else 'as it always was'}.")

    def _elsewhere(self, where: str) -> str:
        """What is wrong with the place, device or knife that a command names; "" for nothing."""
        world = self.world
        if not where or where in ("it", "hand", "floor"):
            return ""
        near = [name for name in (world.at, world.lamp(world.at) if world.at else "", world.held) if name]
        if any(self._is(where, name) for name in near):
            return ""
        return f"You are {f'at {world.at}' if world.at else 'at no place of the room'}; {where[:40]!r} is not here."

    @staticmethod
    def _is(what: str, name: str) -> bool:
        """Whether these words mean that thing."""
        return what in (name, "it") or what == kind_of(name)

    def _one(self, what: str, names: list[str], how: str) -> tuple[str, str]:
        """The one of some names that is meant, or "" and what is wrong."""
        found = [what] if what in names else [name for name in names if kind_of(name) == what]
        if len(found) == 1:
            return found[0], ""
        if found:
            return "", f"Which one: {listed(found).replace(' and ', ' or ')}?"
        at, world = self.world.at, self.world
        if at and world.closed(at) and (kind_of(what) in THINGS or what in THINGS):
            return "", f"You {how} no {what[:40]!r}: {at} is closed."
        return (
            "",
            f"You {how} no {what[:40]!r} here. You are {f'at {at} in the {world.room}' if at else f'in the {world.room}'}.",
        )

    # --- what can be done -----------------------------------------------------------------------------------------

    def admissible_commands(self) -> list[str]:
        """Every command that would do something now, in the expert's wording."""
        world, at, held = self.world, self.world.at, self.world.held
        commands = [f"go to {to}" for to in (*world.house.doors[world.room], *world.house.places[world.room]) if to != at]
        if at and kind_of(at) in CLOSED:
            commands.append(f"{'open' if world.closed(at) else 'close'} {at}")
        if lamp := world.lamp(at):
            commands.append(f"turn {'off' if lamp in world.lit else 'on'} {lamp}")
        if held and at:
            commands += [f"put {held} {'in' if kind_of(at) in INSIDE else 'on'} {at}"] if not world.closed(at) else []
            words = {"clean": "wash", "hot": "heat", "cold": "cool"}
            commands += [
                f"{words[state]} {held} with {at}"
                for state, device in DEVICES.items()
                if device == kind_of(at) and state in THINGS[kind_of(held)].states - world.states.get(held, frozenset())
            ]
        for thing in world.here():
            if not held:
                commands.append(f"take {thing} from {at}")
            elif kind_of(held) == KNIFE and "sliced" in THINGS[kind_of(thing)].states - world.states.get(thing, frozenset()):
                commands.append(f"slice {thing} with {held}")
        return [*commands, "look", "inventory"]

    def _with_commands(self, text: str) -> str:
        return f"{text}\nYou can: {', '.join(self.admissible_commands())}." if self.admissible else text

    @override
    def expert_action(self) -> str:
        """The next command on a way to all goals."""
        if not self._playing:
            raise ResetNeeded("TextHouse: no episode is being played; call reset() before expert_action().")
        return f"<answer>{next_command(self.world)}</answer>"

    @override
    def render(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]  (Gymnasium's is wider)
        """The conversation so far."""
        if self._task is None:
            raise ResetNeeded("TextHouse: there is nothing to see before the first reset().")
        return "\n".join(self._transcript)


def _foreign(task: Task, error: Exception) -> ConfigError:
    return ConfigError(
        f"TextHouse: task {task.id!r} must hold a house as this environment makes them, got metadata "
        f"{str(dict(task.metadata))[:200]} ({type(error).__name__}: {error}). Take tasks from env.task."
    )


def _id_of(difficulty: int, seed: int) -> str:
    return f"house/{difficulty}/{seed:016x}"


def _task(difficulty: int, seed: int) -> Task:
    name = _id_of(difficulty, seed)
    house = random_house(Draws(np.random.default_rng(seed)), difficulty, split_of(name))
    return Task(name, house["said"], "", difficulty, house)
