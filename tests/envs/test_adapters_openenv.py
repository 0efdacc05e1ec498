"""OpenEnv servers, made with openenv-core and run for real on 127.0.0.1."""

import re
import sys
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from tests.envs.servers.started import started
from turnwise.envs.adapters.openenv_env import OpenEnvEnv, from_openenv
from turnwise.envs.testing import check_turn_env
from turnwise.errors import ConfigError, EnvFailure, UnknownName, Unsupported

SERVER = Path(__file__).parent / "servers" / "guess_openenv.py"


def serving(*options: str) -> AbstractContextManager[str]:
    return started(sys.executable, str(SERVER), *options, path="/schema")


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with serving() as address:
        yield address


def guessing(url: str, **options: Any) -> OpenEnvEnv:
    return from_openenv(url=url, action="number", observation="text", **options)


def solved(env: OpenEnvEnv) -> tuple[list[str], float, dict[str, Any]]:
    """By halving."""
    low, high, heard, over, total, info = 0, 99, list[str](), False, 0.0, {}
    while not over:
        guess = (low + high) // 2
        text, reward, over, _, info = env.step(f"<answer>{guess}</answer>")
        heard, total = [*heard, text], total + reward
        low, high = (guess + 1, high) if text == "higher" else (low, guess - 1)
    return heard, total, info


def test_an_episode_and_its_replay(url: str) -> None:
    env = guessing(url, rules="Guess.")
    observation, _ = env.reset(seed=1)
    assert observation == "Guess.\n\nI think of a number from 0 to 99.\n\nReply with the number, as <answer>...</answer>."
    heard, total, info = solved(env)
    assert heard[-1].startswith("Right after") and (total, info["outcome"], info["reward_terms"]) == (1.0, 1.0, {"server": 1.0})
    env.reset(seed=1)
    assert solved(env)[0] == heard
    assert re.match(r"I think of a number", env.render())
    env.close(), env.close()


def test_actions_as_json_and_wrong_ones(url: str) -> None:
    env = gymnasium.make("turnwise/OpenEnv-v0", url=url)
    observation, _ = env.reset(seed=2)
    assert '"number": {"title": "Number", "type": "integer"}' in observation
    assert env.step('<answer>{"number": -1}</answer>')[0] == '{"text": "higher"}'
    for reply, text in (
        ('{"number": "x"}', "That action was not accepted: number: Input should be a valid integer"),
        ('{"n": 1}', "That action was not accepted: number: Field required; n: Extra inputs"),
        ('{"number": "\\ud800"}', "That action was not accepted: number: "),
        ("{" * 10_000, "An action is one JSON object"),
        ("42", "An action is one JSON object"),
    ):
        answer, reward, _, _, info = env.step(reply)
        assert answer.startswith(text) and reward == 0.0 and not info["valid_action"]
    env.close()


def test_the_contract(url: str) -> None:
    def make() -> OpenEnvEnv:
        return guessing(url, expert=lambda seen: "<answer>50</answer>")

    rules = [
        "is_a_turn_env",
        "returns_right_types",
        "replays",
        "tasks_replay",
        "leaves_global_generators_alone",
        "forks_continue_equally",
        "render_changes_nothing",
        "splits_are_disjoint",
    ]
    assert len(check_turn_env(make, tasks=1, rules=rules).seen) == len(rules)


def test_a_server_that_fails_is_no_observation(url: str) -> None:
    env = guessing(url)
    env.reset(seed=1)
    with pytest.raises(EnvFailure, match="EXECUTION_ERROR: the number fell off the table"):
        env.step("1000")
    env.close()
    with pytest.raises(EnvFailure, match="lost earlier"):
        env.step("1")


def test_a_full_server_is_a_failure(url: str) -> None:
    envs = [guessing(url) for _ in range(5)]
    with pytest.raises(EnvFailure, match="CAPACITY_REACHED"):
        for env in envs:
            env.reset(seed=1)
    for env in envs:
        env.close()


def test_a_server_that_dies_and_one_that_plays_with_chance() -> None:
    with serving("chance") as address:
        env = guessing(address)
        env.reset(seed=1)
        env.step("-1")
        with pytest.raises(EnvFailure, match="the same seed and actions led to another observation"):
            for _ in range(8):  # a number from 0 to 99 may come twice
                env.fork().close()
        with pytest.raises(EnvFailure, match="openenv"):
            env.step("2000")
        with pytest.raises(EnvFailure, match="lost earlier"):
            env.step("1")
        with pytest.raises(EnvFailure, match="openenv"):
            env.reset(seed=1)


def test_wrong_settings(url: str) -> None:
    with pytest.raises(ConfigError, match="url must begin with http"):
        from_openenv(url="127.0.0.1:8000")
    with pytest.raises(UnknownName, match="Did you mean 'number'"):
        from_openenv(url=url, action="numbr").reset(seed=0)
    with pytest.raises(UnknownName, match="field of the observation"):
        from_openenv(url=url, observation="txt").reset(seed=0)
    with pytest.raises(Unsupported, match="no expert is known"):
        guessing(url).expert_action()


def test_an_outcome_of_ones_own(url: str) -> None:
    env = guessing(url, outcome=lambda total: total / 2, max_turns=9)
    env.reset(seed=1)
    info: Mapping[str, Any] = solved(env)[2]
    assert info["outcome"] == 0.5
    env.close()


def test_the_page(url: str) -> None:
    """The block of docs/bring_your_own.md, with this server."""
    page = (Path(__file__).parents[2] / "docs" / "bring_your_own.md").read_text()
    (block,) = re.findall(r"^```python openenv\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(block.replace("http://127.0.0.1:8000", url), names)
    assert names["observation"] in ("higher", "lower") and names["reward"] == 0.0
