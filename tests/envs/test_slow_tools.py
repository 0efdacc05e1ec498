"""SlowTools: the same episode, later; how much later follows from the seed."""

import gymnasium
import numpy as np
import pytest

import turnwise  # noqa: F401  (registers)
from turnwise.envs.adapters.slow_tools import SlowTools
from turnwise.envs.core import TurnEnv
from turnwise.envs.fork import fork
from turnwise.envs.search.lookup import Lookup
from turnwise.errors import ConfigError


def play(env: gymnasium.Env, seed: int) -> list[tuple]:
    observation, _ = env.reset(seed=seed)
    story: list[tuple] = [(observation,)]
    inner = env.unwrapped
    assert isinstance(inner, TurnEnv)
    over = False
    while not over:
        observation, reward, terminated, truncated, info = env.step(inner.expert_action())
        over = terminated or truncated
        story.append((observation, reward, terminated, truncated, info))
    return story


def test_the_episode_is_the_same_and_only_tools_wait():
    waited: list[float] = []
    slow = SlowTools(Lookup(style="terse"), sleep=waited.append)
    story = play(slow, 3)
    assert story == play(Lookup(style="terse"), 3)
    assert len(waited) == sum(info["role"] == "tool" for *_, info in story[1:]) == len(story) - 2, "the answer is no tool call"


def test_the_seed_decides_how_long():
    waited: list[float] = []
    slow = SlowTools(Lookup(), sleep=waited.append)
    times = []
    for seed in (1, 1, 2):
        waited.clear()
        play(slow, seed)
        times.append(tuple(waited))
    assert times[0] == times[1] != times[2] and len(set(times[0])) == len(times[0])


def test_times_are_log_normal_with_the_median_and_percentile_asked_for():
    slow = SlowTools(Lookup(), median_s=0.3, p99_s=3.0, sleep=lambda _: None)
    times = []
    slow.reset(seed=1)
    for turn in range(4000):
        slow._turn = turn  # pyright: ignore[reportPrivateUsage]
        times.append(slow.latency_s("look"))
    assert np.median(times) == pytest.approx(0.3, rel=0.05) and np.percentile(times, 99) == pytest.approx(3.0, rel=0.15)
    assert np.log(times).std() == pytest.approx(slow.sigma, rel=0.05)


def test_a_fork_waits_as_its_twin_does():
    waited: list[float] = []
    slow = SlowTools(Lookup(style="terse"), sleep=waited.append)
    slow.reset(seed=5)
    twin = fork(slow)
    action = slow.unwrapped.expert_action()  # type: ignore[attr-defined]
    assert twin.step(action) == slow.step(action) and slow.latency_s("x") == twin.latency_s("x")  # type: ignore[attr-defined]


def test_by_its_id():
    env = gymnasium.make("turnwise/SlowTools-v0", env_id="turnwise/Lookup-v0", style="terse", median_s=1e-6, p99_s=1e-5)
    assert play(env, 3) == play(Lookup(style="terse"), 3)
    assert not env.metadata["inline"], "it blocks: rollouts must not call it on the event loop"


def test_what_makes_no_sense():
    with pytest.raises(ConfigError, match="0 < median_s <= p99_s"):
        SlowTools(Lookup(), median_s=4.0)
    with pytest.raises(ConfigError, match="both or none"):
        SlowTools()
