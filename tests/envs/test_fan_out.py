"""FanOut: a worked task, what every generated task keeps, the expert, the parts of the reward."""

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.envs import Task
from turnwise.envs.search.fan_out import LEVELS, FanOut
from turnwise.envs.search.lookup_world import LEVELS as LOOKUP_LEVELS
from turnwise.envs.search.lookup_world import answer_of, build_world, build_worlds, path_of, question_of
from turnwise.errors import ConfigError, UnknownName

PAGES: dict[str, Any] = {
    "Kavo": {"kind": "person", "facts": {"friend": "Lano", "town": "Riki"}},
    "Lano": {"kind": "person", "facts": {"boat": "Zuzu", "friend": "Kavo"}},
    "Riki": {"see": "Rimu"},
    "Rimu": {"kind": "town", "facts": {"mayor": "Lano", "river": "Dasu"}},
}
ASKED = [{"start": "Kavo", "relations": ["town", "river"]}, {"start": "Lano", "relations": ["boat"]}]


def episode(**options: Any) -> FanOut:
    """An environment that plays two questions about four pages."""
    env = FanOut(**{"style": "terse", "instructions": False, **options})
    task = Task(
        "fan-out/by-hand",
        "river of town of Kavo, boat of Lano?",
        "Dasu,Zuzu",
        1,
        {"style": "terse", "questions": ASKED, "pages": PAGES},
    )
    env.reset(seed=0, options={"task": task})
    return env


def call(name: str) -> str:
    return f'<tool_call>{{"name": "lookup", "arguments": {{"name": "{name}"}}}}</tool_call>'


def test_worked_episode() -> None:
    env = episode()
    said = list[tuple[str, str]]()
    terminated, reward = False, 0.0
    while not terminated:
        action = env.expert_action()
        observation, reward, terminated, _, info = env.step(action)
        said.append((action, observation))
    assert said == [
        (call("Kavo"), "friend Lano, town Riki"),
        (call("Riki"), "see Rimu"),
        (call("Rimu"), "mayor Lano, river Dasu"),
        (call("Lano"), "boat Zuzu, friend Kavo"),
        ("<answer>Dasu, Zuzu</answer>", "Correct."),
    ]
    assert reward == pytest.approx(1.0)
    assert info["outcome"] == 1.0 and info["reward_terms"] == pytest.approx({"answer": 0.7, "progress": 0.3})


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ("Dasu,Zuzu", 1.0),
        (" dasu ;  The Zuzu. ", 1.0),
        ("Dasu\nZuzu\n", 1.0),
        ("Dasu, Rimu", 0.5),
        ("x, Zuzu", 0.5),
        ("Zuzu, Dasu", 0.0),
        ("Dasu", 0.0),
        ("Dasu, Zuzu, Rimu", 0.0),
        ("Dasu, Dasu, Zuzu, Zuzu", 0.0),
        ("Dasu Zuzu, Dasu Zuzu", 0.0),
        ("", 0.0),
        (",", 0.0),
        ("Dasu, Zuzu" + "!" * 2000, 0.0),
    ],
)
def test_what_answers_earn(answer: str, share: float) -> None:
    _, reward, terminated, _, info = episode().step(f"<answer>{answer}</answer>")
    assert terminated and info["outcome"] == share
    assert reward == pytest.approx(1.0 if share == 1 else 0.3 * share)
    _, reward, *_ = episode(progress=0.0).step(f"<answer>{answer}</answer>")
    assert reward == float(share == 1)


def test_says_how_many_parts_are_right() -> None:
    assert episode().step("<answer>Dasu, Rimu</answer>")[0] == "1 of 2 parts are right."


def test_plain_words() -> None:
    env = FanOut(difficulty=1)
    said = env.reset(seed=3)[0].partition("\n\n")[0].splitlines()
    assert (
        said[0] == "Find these names or words:"
        and said[-1] == "Answer with all of them, in this order, with commas between them."
    )
    assert [line[:3] for line in said[1:-1]] == ["1. ", "2. "]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), level=st.sampled_from(sorted(LEVELS)), style=st.sampled_from(["plain", "terse"]))
def test_tasks(seed: int, level: int, style: Any) -> None:
    questions, kind = LEVELS[level]
    env = FanOut(difficulty=level, style=style)
    task = env.generate(np.random.default_rng(seed), level)
    assert json.loads(json.dumps(task.metadata)) == task.metadata
    worlds = [{**task.metadata, **question} for question in task.metadata["questions"]]
    answers = [answer_of(world) for world in worlds]
    assert len(set(answers)) == len(answers) == questions
    assert all(len(path_of(world)) == kind.hops + 1 for world in worlds)
    assert not [answer for answer in answers if answer.casefold() in task.prompt.casefold()]
    assert all("see" in page or len(page["facts"]) > 1 for page in task.metadata["pages"].values())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("style", ["plain", "terse"])
def test_expert_turns_and_room_to_err(level: int, style: Any) -> None:
    questions, kind = LEVELS[level]
    env = FanOut(difficulty=level, style=style)
    for seed in range(10):
        env.reset(seed=seed)
        reward, terminated = 0.0, False
        while not terminated:
            _, reward, terminated, truncated, _ = env.step(env.expert_action())
            assert not truncated
        assert (reward, env.turn) == (1.0, questions * (kind.hops + kind.aliases) + 1)
    assert env.turn_limit(env.task) >= env.turn + 3


def test_one_world_of_several_is_the_world_alone() -> None:
    alone, (first, _) = (
        build_world(np.random.default_rng(5), LOOKUP_LEVELS[2], "terse"),
        build_worlds(np.random.default_rng(5), LOOKUP_LEVELS[2], "terse", 2),
    )
    assert first == alone and question_of(first) == question_of(alone)


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="progress must be from 0 to 1, got 2"):
        FanOut(progress=2)
    with pytest.raises(UnknownName, match="terse"):
        FanOut(style="ters")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError):
        gymnasium.make("turnwise/FanOut-v0", questions=3)
