"""turnwise.envs.fork over wrapper stacks."""

from typing import Any

import gymnasium
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit, TransformAction, TransformObservation

from turnwise.envs import TextSpace, TurnEnv, fork
from turnwise.envs.registration import ids


def test_time_limit_counts_on_in_both() -> None:
    env = gymnasium.make("turnwise/Lookup-v0", max_episode_steps=3)
    env.reset(seed=1)
    env.step("")
    twin = fork(env)
    assert [twin.step("")[3] for _ in range(2)] == [False, True]
    assert [env.step("")[3] for _ in range(2)] == [False, True]


def test_a_stack_of_wrappers_keeps_its_shape_and_its_state() -> None:
    env: gymnasium.Env[Any, Any] = gymnasium.make("turnwise/Lookup-v0")
    env = TransformObservation(env, str.upper, TextSpace())
    env = RecordEpisodeStatistics(TransformAction(TimeLimit(env, 2), lambda action: action, TextSpace()))
    env.reset(seed=4)
    env.step("")
    twin = fork(env)
    here, there = env, twin
    while isinstance(here, gymnasium.Wrapper):
        assert type(here) is type(there) and here is not there
        assert isinstance(there, gymnasium.Wrapper)
        here, there = here.env, there.env
    assert type(here) is type(there) and here is not there
    assert twin.step("")[4]["episode"]["l"] == 2
    observation, _, _, truncated, _ = env.step("")
    assert observation.isupper() and truncated


class Peeking(gymnasium.Wrapper[str, str, str, str]):
    """Holds the innermost environment a second time, as statistics wrappers do."""

    def __init__(self, env: gymnasium.Env[str, str]) -> None:
        super().__init__(env)
        self.core = env.unwrapped


def test_second_references_follow_the_twin() -> None:
    env = Peeking(gymnasium.make("turnwise/Lookup-v0"))
    env.reset(seed=1)
    twin = fork(env)
    assert isinstance(twin, Peeking)
    assert twin.core is twin.unwrapped is not env.unwrapped


@pytest.mark.parametrize("env_id", ids())
def test_the_environments_own_fork_is_used(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env = gymnasium.make(env_id)
    env.reset(seed=1)
    core = env.unwrapped
    assert isinstance(core, TurnEnv)
    marked = core.fork()
    monkeypatch.setattr(core, "fork", lambda: marked)
    assert fork(env).unwrapped is marked


def test_other_peoples_environments_are_copied() -> None:
    env = gymnasium.make("CartPole-v1")
    env.reset(seed=1)
    twin = fork(env)
    assert (twin.step(0)[0] == env.step(0)[0]).all()
