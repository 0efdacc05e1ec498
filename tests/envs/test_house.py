"""turnwise/TextHouse-v0: the rules against plain ones written apart, houses, goals, the expert, what replies are understood."""

from typing import Any

import numpy as np
import pytest

from turnwise.envs.core import split_of
from turnwise.envs.draws import Draws
from turnwise.envs.house.catalogue import INSIDE, LAMPS, THINGS, kind_of
from turnwise.envs.house.commands import Command, read_command
from turnwise.envs.house.generator import LEVELS, random_house
from turnwise.envs.house.goals import COMBINATIONS, LOOKS, Goal, combination, sentence
from turnwise.envs.house.text_house import TextHouse
from turnwise.errors import ConfigError
from turnwise.types import Task

SMALL: dict[str, Any] = {
    "rooms": {
        "kitchen": {"doors": ["office"], "places": ["sink 1", "microwave 1", "fridge 1", "counter 1", "cabinet 1", "cabinet 2"]},
        "office": {"doors": ["kitchen"], "places": ["desk 1", "safe 1"]},
    },
    "things": {
        "apple 1": "fridge 1",
        "apple 2": "counter 1",
        "book 1": "safe 1",
        "knife 1": "cabinet 2",
        "mug 1": "counter 1",
        "pen 1": "desk 1",
    },
    "goals": [["apple", "desk", ["clean", "sliced"], 1]],
    "said": "Slice and wash an apple and put it on a desk.",
    "start": "kitchen",
}


def small(goals: list[list[Any]] | None = None, **options: Any) -> TextHouse:
    env = TextHouse(instructions=False, **options)
    env.reset(options={"task": Task("house/test", "Do it.", "", 1, SMALL | ({"goals": goals} if goals else {}))})
    return env


def say(env: TextHouse, *commands: str) -> str:
    """What the last of them is answered."""
    return [env.step(command)[0] for command in commands][-1]


# --- rules ------------------------------------------------------------------------------------------------------------


class Plain:
    """The rules once more, on sets of facts: does a command in the expert's wording, if it can be done."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.rooms, self.room, self.at, self.hand = given["rooms"], given["start"], None, None
        self.facts = {("in", thing, place) for thing, place in given["things"].items()}

    def place_of(self, thing: str) -> str | None:
        return next((fact[2] for fact in self.facts if fact[:2] == ("in", thing)), None)

    def shut(self, place: str | None) -> bool:
        lids = ("fridge", "microwave", "cabinet", "drawer", "chest", "wardrobe", "safe", "dresser")
        return place is not None and (kind_of(place) in lids or "washing" in place) and ("open", place) not in self.facts

    def within_reach(self, thing: str) -> bool:
        return self.at is not None and self.place_of(thing) == self.at and not self.shut(self.at)

    def does(self, command: str) -> bool:
        verb, _, rest = command.partition(" ")
        if verb == "go":
            to = rest.removeprefix("to ")
            if to in self.rooms[self.room]["doors"]:
                self.room, self.at = to, None
            elif to in self.rooms[self.room]["places"]:
                self.at = to
            return True
        if verb == "open" and rest == self.at and self.shut(rest):
            self.facts.add(("open", rest))
        elif verb == "close" and rest == self.at:
            self.facts.discard(("open", rest))
        elif verb == "take" and self.hand is None and self.within_reach(rest):
            self.facts.remove(("in", rest, self.at))
            self.hand = rest
        elif verb == "put" and rest == self.hand and self.at and not self.shut(self.at):
            self.facts.add(("in", rest, self.at))
            self.hand = None
        elif verb in ("wash", "heat", "cool") and rest == self.hand and self.at:
            state, device, other = {
                "wash": ("clean", "sink", ""),
                "heat": ("hot", "microwave", "cold"),
                "cool": ("cold", "fridge", "hot"),
            }[verb]
            if kind_of(self.at) == device and state in THINGS[kind_of(rest)].states:
                self.facts = {fact for fact in self.facts if fact != ("is", rest, other)} | {("is", rest, state)}
        elif verb == "slice" and self.hand and kind_of(self.hand) == "knife" and self.within_reach(rest):
            self.facts |= {("is", rest, "sliced")} if "sliced" in THINGS[kind_of(rest)].states else set()
        elif verb == "turn":
            way, _, lamp = rest.partition(" ")
            if self.at and kind_of(self.at) in LAMPS and lamp == f"{LAMPS[kind_of(self.at)]} {self.at.split()[-1]}":
                self.facts.discard(("lit", lamp))
                self.facts |= {("lit", lamp)} if way == "on" else set()
        return False


def test_the_rules_are_the_plain_ones() -> None:
    """Over wild play, mostly with what can be done, in random houses: the same facts after each command."""
    rng, done = np.random.default_rng(0), 0
    for seed in range(50):
        env = TextHouse(difficulty=1 + seed % 5, max_turns=200)
        env.reset(seed=seed)
        plain = Plain(dict(env.task.metadata))
        while env._playing:
            world = env.world
            options = [command for command in env.admissible_commands() if command not in ("look", "inventory")]
            command = str(rng.choice(options))
            if rng.random() < 0.2:
                verb = rng.choice(["open", "close", "take", "put", "wash", "heat", "cool", "slice", "turn on"])
                command = f"{verb} {rng.choice([*world.where, *world.house.room_of])}"
            elif not command.startswith("go"):
                command = command.partition(" from ")[0].partition(" with ")[0].partition(" in ")[0]
                command = command.partition(" on ")[0] if command.startswith("put") else command
            env.step(command)
            plain.does(command)
            facts = {("in", thing, place) for thing, place in world.where.items()}
            facts |= {("open", place) for place in world.open} | {("lit", lamp) for lamp in world.lit}
            facts |= {("is", thing, state) for thing, states in world.states.items() for state in states}
            assert (world.room, world.at or None, world.held or None, facts) == (plain.room, plain.at, plain.hand, plain.facts), (
                command
            )
            done += len(world.states) > 0
    assert done > 500


def test_an_episode_by_hand() -> None:
    env = small()
    assert say(env, "look") == (
        "You are in the kitchen. You see sink 1, microwave 1, fridge 1, counter 1, cabinet 1 and cabinet 2. "
        "A door leads to the office."
    )
    assert say(env, "go to cabinet") == "Which one: cabinet 1 or cabinet 2?"
    assert say(env, "Go to the Cabinet 2.") == "You are at cabinet 2. It is closed."
    assert say(env, "take knife") == "You see no 'knife': cabinet 2 is closed."
    assert say(env, "open it") == "You open cabinet 2. In it you see knife 1."
    assert say(env, "Action: pick up the knife") == "You take knife 1 from cabinet 2."
    assert say(env, "approach counter", "slice apple with knife") == "You slice apple 2 with knife 1."
    assert say(env, "put it down") == "You put knife 1 on counter 1."
    assert say(env, "grab apple from the counter", "go to sink", "rinse it") == "You wash apple 2 with sink 1."
    assert say(env, "inventory") == "You carry apple 2 (washed, sliced)."
    assert say(env, "enter office", "walk over to the desk lamp 1").endswith(
        "On it you see pen 1. A desk lamp 1 stands there; it is off."
    )
    text, reward, terminated, _, info = env.step("I should put it here.\n<answer>place apple on desk</answer>")
    assert text == "You put apple 2 (washed, sliced) on desk 1. The task is done."
    assert (reward, terminated, info["outcome"], info["reward_terms"]) == (1.0, True, 1.0, {"solved": 1.0})


def test_what_cannot_be_done_says_why() -> None:
    env = small()
    before = env.fork()
    for command, words in (
        ("take apple", "You see no 'apple' here. You are in the kitchen."),
        ("open fridge", "You are not at fridge 1; go to it first."),
        ("put mug on counter", "You carry nothing."),
        ("go to bathroom", "You see no 'bathroom' here."),
        ("go to kitchen", "You are in the kitchen already."),
        ("turn on lamp", "There is no lamp within reach"),
        ("go to fridge, take apple, eat it", "You see no 'fridge, take apple, eat it' here."),
        ("", "A reply is one command."),
        ("dance", "'dance' is not understood. Commands: go to"),
    ):
        text, reward, _, _, info = env.step(command)
        assert words in text and reward == 0.0 and info["valid_action"] == (command not in ("", "dance"))
        assert env.world.where == before.world.where and env.world.at == ""
    say(env, "go to counter", "take mug")
    for command, words in (
        ("take apple", "Your hands are full: you carry mug 1. Put it down first."),
        ("take mug", "You carry mug 1 already."),
        ("put apple on counter", "You do not carry 'apple'; you carry mug 1."),
        ("put mug in fridge", "You are at counter 1; 'fridge' is not here."),
        ("heat mug", "To heat something, be at a microwave."),
        ("slice apple", "To slice something, hold a knife"),
        ("open counter", "Counter 1 cannot be opened or closed."),
    ):
        assert words in say(env, command), command
    assert "Fridge 1 is open already" not in say(env, "go to fridge", "open fridge")
    assert say(env, "open fridge") == "Fridge 1 is open already. In it you see apple 1."
    assert (
        say(env, "go to office", "go to desk", "use desk lamp")
        == "You turn desk lamp 1 on. You look at mug 1 in the light of desk lamp 1."
    )
    assert say(env, "wash mug") == "To wash something, be at a sink."


@pytest.mark.parametrize(
    "reply, command",
    [
        ("Go to the fridge 1", Command("go", "fridge 1")),
        ("> walk back to living room.", Command("go", "living room")),
        ("take a soap bar 2 from the drawer 1", Command("take", "soap bar 2", "drawer 1")),
        ("put soap bar 2 in/on shelf 1", Command("put", "soap bar 2", "shelf 1")),
        ("move to desk 1", Command("go", "desk 1")),
        ("Cool the mug with fridge 1", Command("cold", "mug", "fridge 1")),
        ("cook egg using microwave", Command("hot", "egg", "microwave")),
        ("cut apple 1 with knife 2", Command("slice", "apple 1", "knife 2")),
        ("switch the desk lamp 1 off", Command("off", "desk lamp 1")),
        ("turn on desk lamp", Command("on", "desk lamp")),
        ("look at the book under desk lamp 1", Command("examine", "book", "desk lamp 1")),
        ("thinking...\n`look`", Command("look")),
        ("The living room", Command("go", "living room")),
        ("cabinet 2", Command("go", "cabinet 2")),
        ("<answer>i</answer>", Command("inventory")),
    ],
)
def test_replies_are_understood(reply: str, command: Command) -> None:
    assert read_command(reply) == command


# --- goals ------------------------------------------------------------------------------------------------------------


def test_each_kind_of_goal() -> None:
    env = small([["book", "desk lamp", [], 1]])
    say(env, "go to office", "go to safe", "open safe", "take book")
    assert say(env, "go to desk").endswith("it is off.") and env.step("turn on the desk lamp")[1] == 1.0
    env = small([["book", "desk lamp", [], 1], ["mug", "cabinet", ["hot"], 1]], progress_reward=0.5)
    say(env, "go to counter", "take mug", "go to microwave", "heat mug", "go to cabinet 1", "open it")
    _, reward, terminated, _, info = env.step("put mug in cabinet")
    assert (reward, terminated, info["reward_terms"]) == (0.25, False, {"progress": 0.25})
    assert env.step("take mug")[1] == 0.0 and env.step("put it in cabinet")[1] == 0.0  # once only
    say(env, "go to office", "go to safe", "open safe", "take book", "go to desk")
    assert env.step("turn on lamp")[4]["reward_terms"] == {"progress": 0.25, "solved": 1.0}
    env = small([["apple", "cabinet", [], 2]])
    say(
        env,
        "go to counter",
        "take apple",
        "go to cabinet 1",
        "open it",
        "put apple in it",
        "go to fridge",
        "open it",
        "take apple",
    )
    assert env.step("go to cabinet 2")[1] == 0.0 and env.step("open it")[1] == 0.0
    assert env.step("put apple in cabinet 2")[1] == 1.0  # two, in any places of the kind


def test_hot_and_cold_exclude_each_other() -> None:
    env = small([["mug", "cabinet", ["cold"], 1]])
    say(env, "go to counter", "take mug", "go to fridge", "cool mug", "go to microwave", "heat mug", "go to cabinet 1", "open it")
    assert env.step("put mug in cabinet")[1] == 0.0 and env.world.states["mug 1"] == {"hot"}


def test_combinations_are_in_one_split_alone() -> None:
    """Tasks of each split ask for combinations of that split only, and there are enough of both."""
    sizes = {
        split: sum(len(goals) for key, goals in [*COMBINATIONS.items(), *LOOKS.items()] if key[0] == split)
        for split in ("train", "test")
    }
    assert sizes["test"] > 300 and sizes["train"] > 1000
    env = TextHouse()
    for level in LEVELS:
        for split in ("train", "test"):
            for seed in range(20):
                env.reset(seed=seed, options={"split": split, "difficulty": level})
                assert {split_of(combination(goal)) for goal in env.world.goals} == {split}


def test_nothing_is_reached_at_the_start_and_all_is_possible() -> None:
    for level, (rooms, goals, *_) in LEVELS.items():
        for seed in range(40):
            house = random_house(Draws(np.random.default_rng(seed)), level, "train")
            places = {kind_of(place) for room in house["rooms"].values() for place in room["places"]}
            assert len(house["rooms"]) == rooms and len(house["goals"]) == goals
            assert {"sink", "fridge", "microwave"} <= places
            for thing, place, states, many in house["goals"]:
                there = [at for name, at in house["things"].items() if kind_of(name) == thing]
                assert len(there) >= many and place not in {kind_of(at) for at in there}
                assert place in places or place in {LAMPS.get(kind) for kind in places}
                assert "sliced" not in states or any(kind_of(name) == "knife" for name in house["things"])


def test_goals_in_words() -> None:
    draws = Draws(np.random.default_rng(0))
    said = {sentence([Goal("knife", "drawer", ("clean",), 2)], draws) for _ in range(20)}
    assert said == {"Put two washed knives in a drawer.", "Place two washed knives in a drawer."}
    said = {sentence([Goal("apple", "desk", ("cold", "sliced")), Goal("pen", "desk lamp")], draws) for _ in range(60)}
    assert "Slice and cool an apple and put it on a desk; look at a pen under a desk lamp." in said and len(said) >= 6
    assert all(place in INSIDE or f"on a{'n' * (place[0] in 'aeiou')} {place}" for _, place, _ in COMBINATIONS)


# --- the expert -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_levels_take_more_turns(level: int) -> None:
    env, turns = TextHouse(difficulty=level), list[int]()
    for seed in range(20):
        env.reset(seed=seed)
        reward = 0.0
        while env._playing:
            reward = env.step(env.expert_action())[1]
        assert reward == 1.0
        turns.append(env.turn)
    low, high = ((3, 9), (6, 14), (15, 30), (30, 55), (55, 100))[level - 1]
    assert low <= sum(turns) / len(turns) <= high


def test_the_expert_goes_on_from_wherever_wild_play_leaves_it() -> None:
    rng, env = np.random.default_rng(2), TextHouse(difficulty=4, max_turns=400)
    for seed in range(15):
        env.reset(seed=seed)
        reward = 0.0
        for _ in range(60):
            if env._playing:
                reward = env.step(str(rng.choice(env.admissible_commands())))[1]
        while env._playing:
            reward = env.step(env.expert_action())[1]
        assert reward == 1.0


def test_admissible_commands_can_be_done() -> None:
    """Each of them changes something, and the expert's are among them."""
    env = TextHouse(difficulty=3, admissible=True)
    observation, _ = env.reset(seed=3)
    while env._playing:
        assert observation.endswith(f"You can: {', '.join(env.admissible_commands())}.")
        for command in env.admissible_commands()[:-2]:
            twin = env.fork()
            twin.step(command)
            same = ("where", "at", "room", "held", "open", "lit", "states")
            assert any(getattr(twin.world, name) != getattr(env.world, name) for name in same), command
        assert env.expert_action()[8:-9] in env.admissible_commands()
        observation, *_ = env.step(env.expert_action())


@pytest.mark.parametrize(
    "change",
    [
        {"rooms": {}},
        {"rooms": {"attic": {"doors": [], "places": []}}},
        {"rooms": {**SMALL["rooms"], "office": {"doors": [], "places": ["desk 1", "safe 1"]}}},
        {"things": {"apple 1": "shelf 9"}},
        {"things": {"ghost 1": "desk 1"}},
        {"start": "bathroom"},
        {"goals": [["apple"]]},
        {"goals": [["apple", "garbage can", [], 1]]},
        {"goals": []},
        {"said": None, "goals": None},
    ],
)
def test_foreign_tasks_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="TextHouse: task 'house/x'"):
        TextHouse().reset(options={"task": Task("house/x", "p", "", 1, SMALL | change)})


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="progress_reward"):
        TextHouse(progress_reward=1.5)
