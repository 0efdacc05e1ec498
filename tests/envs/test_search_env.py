"""Search: worked episodes, the tools, forks, what an answer earns, and what a searcher without understanding earns."""

import json
import re
from typing import Any

import numpy as np
import pytest

from turnwise.envs.search.plots import LEVELS
from turnwise.envs.search.search import Search


def said(env: Search, tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    observation, reward, terminated, truncated, info = env.step(env.format.call(tool, arguments))
    assert (reward, terminated, truncated) == (0.0, False, False)
    return observation, info


def finished(env: Search) -> tuple[float, int]:
    """(reward, turns) of the expert from here on; it opens nothing that no search gave."""
    while True:
        action = env.expert_action()
        page = re.search(r'"page": "(\d+)"', action)
        assert page is None or page[1] in env.found
        _, reward, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            return reward, env.turn


@pytest.mark.parametrize("level", LEVELS)
def test_the_expert_finds_every_page_by_its_name(level: int) -> None:
    env = Search(difficulty=level)
    for seed in range(12):
        env.reset(seed=seed)
        reward, turns = finished(env)
        assert reward == 1.0
        assert turns <= 2 * env.task.metadata["reads"] + 1
        assert env.turn_limit(env.task) >= turns + 5


def test_an_episode_by_hand() -> None:
    env = Search(difficulty=2)
    observation, _ = env.reset(seed=0)
    assert observation.startswith(env.task.prompt)
    (name, page), (other, then) = env.needed()
    found, info = said(env, "search", query=name)
    assert found.startswith(f"[{page}] {name} (")
    assert len(found.splitlines()) == 5
    assert info["role"] == "tool" and info["valid_action"]
    text, _ = said(env, "open", page=page)
    assert text.startswith(f"{name} (") and other in text and "revised in" in text
    text, _ = said(env, "open", page=int(then))
    assert env.task.answer in text
    _, reward, terminated, _, info = env.step(env.format.final(f"the {env.task.answer.upper()}!"))
    assert (reward, terminated, info["outcome"]) == (1.0, True, 1.0)
    assert info["reward_terms"] == {"exact": 0.9, "f1": pytest.approx(0.1)}


@pytest.mark.parametrize(
    ("tool", "arguments", "words", "valid"),
    [
        ("search", {"query": ""}, "No page holds any of these words.", True),
        ("search", {"query": "zzz \ud800 ' OR 1"}, "No page", True),
        ("search", {"query": "the", "k": 0}, "k must be from 1 to 20.", True),
        ("search", {"query": "the", "k": 10**30}, "k must be from 1 to 20.", True),
        ("search", {"query": 3}, "Error: search: query: Input should be a valid string.", False),
        ("open", {"page": "x"}, "There is no page 'x'; search gives the ids.", True),
        ("open", {"page": "\ud800"}, r"There is no page '\ud800'", True),
        ("open", {"page": None}, "Error: open: page: Input should be a valid string.", False),
        ("open", {}, "Error: open: page: Field required.", False),
    ],
)
def test_what_cannot_be_done_is_said(tool: str, arguments: dict[str, Any], words: str, valid: bool) -> None:
    env = Search(difficulty=1)
    env.reset(seed=1)
    observation, info = said(env, tool, **arguments)
    assert observation.startswith(words)
    assert info["valid_action"] is valid


def test_a_page_has_one_part_and_ids_may_be_in_brackets() -> None:
    env = Search(difficulty=1)
    env.reset(seed=1)
    ((name, page),) = env.needed()
    assert said(env, "open", page=f" [{page}] ")[0].startswith(name)
    assert said(env, "open", page=page, part=2)[0] == f"Page {page} has 1 part; there is no part 2."


@pytest.mark.parametrize("f1", [0.0, 0.1, 1.0])
def test_part_of_a_name_earns_its_share_of_f1(f1: float) -> None:
    env = Search(difficulty=2, f1=f1)
    seed = next(seed for seed in range(100) if len(env.reset(seed=seed) and env.task.answer.split()) == 2)
    env.reset(seed=seed)
    _, reward, _, _, info = env.step(env.format.final(env.task.answer.split()[0]))
    assert reward == pytest.approx(f1 * 2 / 3)
    assert info["outcome"] == 0.0


def test_forks_share_the_pages_and_nothing_else() -> None:
    env = Search(difficulty=3)
    env.reset(seed=5)
    (name, page), *_ = env.needed()
    said(env, "search", query=name)
    twin = env.fork()
    said(twin, "open", page=page)
    assert (env.read, twin.read) == (frozenset(), {page})
    assert env.index() is twin.index()
    assert finished(env)[0] == finished(twin)[0] == 1.0


def test_the_task_alone_puts_the_episode_back() -> None:
    env, other = Search(difficulty=6), Search()
    first, _ = env.reset(seed=3)
    task = env.task
    assert json.loads(json.dumps(task.metadata)) == task.metadata
    assert other.reset(options={"task": task})[0] == first
    query = env.needed()[0][0]
    assert said(env, "search", query=query) == said(other, "search", query=query)


def test_searching_for_the_question_and_naming_what_comes_up_earns_little() -> None:
    """Policies that search without understanding: the first name or number of the observation, or any of them."""
    env, rng = Search(instructions=False), np.random.default_rng(0)
    name, number = re.compile(r"[A-Z]\w+(?: (?:of )?[A-Z]\w+)*"), re.compile(r"\d{2,}")
    for pick in (lambda found: found[0], lambda found: found[-1], lambda found: found[int(rng.integers(len(found)))]):
        for pattern in (name, number):
            earned: list[float] = []
            for seed in range(64):
                env.reset(seed=seed, options={"difficulty": 1 + seed % 8, "split": "test"})
                text, _ = said(env, "search", query=env.task.prompt)
                earned.append(env.step(env.format.final(pick(pattern.findall(text))))[1])
            assert np.mean(earned) < 0.05, (pattern.pattern, np.mean(earned))
