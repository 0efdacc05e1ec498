"""Lookup: a worked world, what every generated world keeps, the expert, the novice."""

import json
import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.envs import Task
from turnwise.envs.draws import Draws
from turnwise.envs.search.lookup import HABITS, Lookup, normal, novice_action
from turnwise.envs.search.lookup_names import draw_name
from turnwise.envs.search.lookup_world import LEVELS, answer_of, build_world, page_text, path_of, question_of
from turnwise.envs.testing import check_turn_env
from turnwise.errors import ConfigError, UnknownName

KINDS = ("person", "town", "river", "thing", "colour", "material", "sea", "market")
PAGES: dict[str, Any] = {
    "Kavo": {"kind": "person", "facts": {"friend": "Lano", "town": "Riki"}},
    "Lano": {"kind": "person", "facts": {"boat": "Zuzu", "friend": "Kavo"}},
    "Riki": {"see": "Rimu"},
    "Rimu": {"kind": "town", "facts": {"mayor": "Lano", "river": "Dasu"}},
    "Dasu": {"kind": "river", "facts": {"sea": "Bobo"}},
}


def task(style: str = "terse") -> Task:
    world = {"style": style, "start": "Kavo", "relations": ["town", "river"], "pages": PAGES}
    return Task("lookup/by-hand", question_of(world), answer_of(world), 2, world)


def call(name: str) -> str:
    return f'<tool_call>{{"name": "lookup", "arguments": {{"name": "{name}"}}}}</tool_call>'


def finish(env: Lookup) -> tuple[float, int]:
    """(reward, turns) of the expert from here on."""
    for turn in range(1, 100):
        _, reward, terminated, truncated, _ = env.step(env.expert_action())
        if terminated or truncated:
            return reward, turn
    raise AssertionError("the episode never ends")


def test_worked_episode() -> None:
    env = Lookup(instructions=False, style="terse")
    observation, _ = env.reset(seed=0, options={"task": task()})
    assert observation == "river of town of Kavo?"
    said = []
    while True:
        action = env.expert_action()
        observation, reward, terminated, _, info = env.step(action)
        said.append((action, observation))
        if terminated:
            break
    assert said == [
        (call("Kavo"), "friend Lano, town Riki"),
        (call("Riki"), "see Rimu"),
        (call("Rimu"), "mayor Lano, river Dasu"),
        ("<answer>Dasu</answer>", "Correct."),
    ]
    assert reward == 1.0
    assert info == {"outcome": 1.0, "reward_terms": {"answer": 1.0}, "valid_action": True, "role": "user"}


def test_plain_words() -> None:
    world = task("plain").metadata
    assert question_of(world) == "What is the name of the river that flows through the town where Kavo lives?"
    assert page_text(world, "Kavo") == "The friend of Kavo is Lano.\nKavo lives in Riki."
    assert page_text(world, "Riki") == "Riki: see Rimu."


@pytest.mark.parametrize(
    ("name", "said", "valid"),
    [
        ("Zuzu", "unknown", True),
        ("the town of Kavo", "unknown", True),
        ("x" * 50_000, "unknown", True),
        ("  kavo. ", "friend Lano, town Riki", True),
        (7, "Error: lookup: name: Input should be a valid string.", False),
        (None, "Error: lookup: name: Input should be a valid string.", False),
        ("\ud800", "unknown", True),
    ],
)
def test_names_that_are_asked(name: Any, said: str, valid: bool) -> None:
    env = Lookup(style="terse")
    env.reset(seed=0, options={"task": task()})
    reply = f"<tool_call>{json.dumps({'name': 'lookup', 'arguments': {'name': name}})}</tool_call>"
    observation, reward, terminated, _, info = env.step(reply)
    assert observation.startswith(said)
    assert (reward, terminated, info["valid_action"], info["role"]) == (0.0, False, valid, "tool")


def test_unknown_name_in_plain_words() -> None:
    env = Lookup()
    env.reset(seed=0, options={"task": task("plain")})
    assert env.step(call("Nobody"))[0] == "There is no entry for 'Nobody'."
    assert env.step(call("\\ud800"))[0] == r"There is no entry for '\ud800'."


@pytest.mark.parametrize("answer", ["Dasu", " dasu ", "DASU.", "The Dasu", "'Dasu'", "the  dasu!"])
def test_right_answers(answer: str) -> None:
    env = Lookup()
    env.reset(seed=0, options={"task": task()})
    assert env.step(f"<answer>{answer}</answer>")[1:3] == (1.0, True)


@pytest.mark.parametrize(
    "answer", ["", "Rimu", "Das", "Dasu Rimu", "Dasu or Rimu", "river Dasu", "the", "D a s u", "Dasu" * 1000]
)
def test_wrong_answers(answer: str) -> None:
    env = Lookup()
    env.reset(seed=0, options={"task": task()})
    assert env.step(f"<answer>{answer}</answer>")[1:3] == (0.0, True)


def test_normal_keeps_a_lone_article() -> None:
    assert normal("The") == "the"
    assert normal("An old heron") == "old heron"


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), level=st.sampled_from(sorted(LEVELS)), style=st.sampled_from(["plain", "terse"]))
def test_worlds(seed: int, level: int, style: str) -> None:
    world = build_world(np.random.default_rng(seed), LEVELS[level], style)
    pages, path, answer = world["pages"], path_of(world), answer_of(world)
    assert json.loads(json.dumps(world)) == world
    assert len(path) == len(set(path)) == LEVELS[level].hops + 1
    assert answer.casefold() not in question_of(world).casefold()
    # The answer stands on one page only, the last but one of the path.
    telling = [name for name, page in pages.items() if answer in page.get("facts", {}).values() or page.get("see") == answer]
    assert telling == [path[-2]]
    # Every name leads somewhere: to a page, or it is a value of a kind that has none.
    for page in pages.values():
        if "see" in page:
            assert "facts" in pages[page["see"]]
        else:
            assert 1 <= len(page["facts"]) <= LEVELS[level].facts
    assert len({name.casefold() for name in pages}) == len(pages)
    # The path is never the only way: a page of it offers something else too.
    assert all(len(pages[name]["facts"]) > 1 for name in path[:-1])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("style", ["plain", "terse"])
def test_expert_turns_and_room_to_err(level: int, style: Any) -> None:
    env = Lookup(difficulty=level, style=style)
    for seed in range(20):
        env.reset(seed=seed)
        assert finish(env) == (1.0, LEVELS[level].expert_turns)
    assert env.turn_limit(env.task) >= LEVELS[level].expert_turns + 3


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), level=st.sampled_from(sorted(LEVELS)))
def test_expert_recovers(seed: int, level: int) -> None:
    env = Lookup(difficulty=level)
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    names = list(env.task.metadata["pages"])
    for _ in range(3):
        wrong = ["", "<tool_call>{", call("Nobody Here"), call(names[int(rng.integers(len(names)))])]
        env.step(wrong[int(rng.integers(len(wrong)))])
    assert finish(env)[0] == 1.0


def test_pages_already_read_are_not_read_again() -> None:
    env = Lookup()
    env.reset(seed=0, options={"task": task()})
    env.step(call("Rimu"))
    assert env.expert_action() == call("Kavo")
    env.step(call("Kavo"))
    assert env.expert_action() == call("Riki")
    env.step(call("Riki"))
    assert env.expert_action() == "<answer>Dasu</answer>"


def test_terse_two_hops_are_short() -> None:
    env = Lookup(style="terse", instructions=False)
    for seed in range(50):
        env.reset(seed=seed)
        finish(env)
        assert len(re.findall(r"\w+|[^\w\s]", env.render())) < 150
        assert all(re.fullmatch("[A-Z][a-z]{3}", name) for name in env.task.metadata["pages"])


def test_no_value_stands_in_the_instructions() -> None:
    env = Lookup(style="terse")
    prompt = env.reset(seed=0)[0].casefold().partition("\n\n")[2]
    draws = Draws(np.random.default_rng(0))
    values = {draw_name(kind, terse, draws) for kind in KINDS for terse in (True, False) for _ in range(2000)}
    assert len(values) > 3000
    assert prompt
    assert not [value for value in values if value.casefold() in prompt]


def novice_episode(env: Lookup, seed: int, habits: dict[str, float]) -> tuple[float, int]:
    """Reward and turns of one episode of a novice; every reply is a valid one and the novice always answers in the end."""
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    while True:
        _, reward, terminated, truncated, info = env.step(novice_action(env, rng, habits))
        assert info["valid_action"]
        assert not truncated
        if terminated:
            return reward, env.turn


def test_novice_is_of_mixed_quality() -> None:
    env = Lookup(style="terse", instructions=False)
    won = [novice_episode(env, seed, dict(HABITS))[0] for seed in range(300)]
    assert 0.15 < np.mean(won) < 0.45


@pytest.mark.parametrize("level", [1, 2, 4, 6])
def test_novice_of_the_right_habit_always_succeeds(level: int) -> None:
    env = Lookup(difficulty=level)
    assert all(novice_episode(env, seed, {"right": 1.0})[0] == 1 for seed in range(30))


def test_novice_who_stops_early_never_succeeds_and_is_shorter() -> None:
    env = Lookup(style="terse")
    early = [novice_episode(env, seed, {"early": 1.0}) for seed in range(50)]
    right = [novice_episode(env, seed, {"right": 1.0}) for seed in range(50)]
    assert sum(reward for reward, _ in early) == 0
    assert all(e[1] < r[1] for e, r in zip(early, right, strict=True))


def test_novice_who_goes_a_wrong_way_fails() -> None:
    env = Lookup(style="terse", difficulty=3)
    assert np.mean([novice_episode(env, seed, {"relation": 1.0})[0] for seed in range(50)]) < 0.3


def test_one_fact_can_be_asked_for() -> None:
    env = Lookup(style="terse")
    env.reset(seed=0, options={"task": task()})
    page = env.task.metadata["pages"]["Kavo"]["facts"]
    fact, value = next(iter(page.items()))
    assert env.step(env.format.call("lookup", {"name": "Kavo", "fact": fact}))[0] == value
    assert env.step(env.format.call("lookup", {"name": "Kavo", "fact": "price"}))[0] == "nothing"
    assert env.read == ()
    assert env.asked == {("Kavo", fact)}


def test_fork_has_its_own_memory() -> None:
    env = Lookup()
    env.reset(seed=0, options={"task": task()})
    env.step(call("Kavo"))
    twin = env.fork()
    twin.step(call("Riki"))
    assert (env.read, twin.read) == (("Kavo",), ("Kavo", "Riki"))
    assert twin.task is env.task
    assert env.step(call("Riki")) != twin.step(call("Rimu"))


def test_wrong_options() -> None:
    with pytest.raises(UnknownName, match="terse"):
        Lookup(style="ters")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="1 to 6"):
        Lookup(difficulty=9)
    with pytest.raises(TypeError):
        gymnasium.make("turnwise/Lookup-v0", hops=3)


def test_terse_keeps_the_contract() -> None:
    report = check_turn_env(lambda: Lookup(style="terse", instructions=False), tasks=20, distinct=300)
    assert max(report.probes.values()) == 0.0
