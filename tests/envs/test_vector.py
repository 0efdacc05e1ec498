"""Gymnasium's vector environments: sync is right, async is right or refuses."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from turnwise.envs.registration import ids
from turnwise.envs.testing.subject import Episode, expert, play


def alone(env_id: str, seed: int) -> Episode:
    env = gymnasium.make(env_id)
    episode = play(env, expert, seed=seed)
    env.close()
    return episode


@pytest.mark.parametrize("env_id", ids())
def test_sync_says_what_single_environments_say(env_id: str) -> None:
    seeds = [11, 12, 13]
    singles = [gymnasium.make(env_id) for _ in seeds]
    starts = [env.reset(seed=seed)[0] for env, seed in zip(singles, seeds, strict=True)]
    envs = gymnasium.make_vec(env_id, num_envs=3, vectorization_mode="sync")
    observations, infos = envs.reset(seed=seeds)
    assert list(observations) == starts
    assert infos["outcome"].tolist() == [0.0, 0.0, 0.0] and infos["valid_action"].all()
    actions = ["", "hello", singles[2].unwrapped.expert_action()]  # type: ignore[attr-defined]
    observations, rewards, terminated, truncated, infos = envs.step(actions)
    expected = [env.step(action) for env, action in zip(singles, actions, strict=True)]
    assert list(observations) == [e[0] for e in expected]
    assert rewards.tolist() == [e[1] for e in expected]
    assert terminated.tolist() == [e[2] for e in expected] and truncated.tolist() == [e[3] for e in expected]
    assert infos["role"].tolist() == [e[4]["role"] for e in expected]
    envs.close()


def test_sync_starts_anew_after_the_end() -> None:
    episode = alone("turnwise/Lookup-v0", 5)
    envs = gymnasium.make_vec("turnwise/Lookup-v0", num_envs=2, vectorization_mode="sync")
    envs.reset(seed=[5, 6])
    for action in episode.actions:
        _, rewards, terminated, _, infos = envs.step([action, ""])
    assert terminated.tolist() == [True, False] and rewards.tolist() == [episode.reward, 0.0]
    assert infos["outcome"].tolist() == [1.0, 0.0]
    observations, rewards, terminated, _, _ = envs.step(["", ""])
    assert rewards[0] == 0.0 and not terminated[0] and "<tool_call>" in observations[0]
    envs.close()


def test_sync_without_autoreset_resets_by_mask() -> None:
    envs = gymnasium.make_vec(
        "turnwise/Lookup-v0", num_envs=2, vectorization_mode="sync", vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED}
    )
    first, _ = envs.reset(seed=[1, 2])
    second, _ = envs.reset(seed=[3, None], options={"reset_mask": np.array([True, False])})
    assert second[0] != first[0] and second[1] == first[1]
    envs.close()


def test_async_with_shared_memory_refuses() -> None:
    with pytest.raises(ValueError, match="shared_memory=False"):
        gymnasium.make_vec("turnwise/Lookup-v0", num_envs=2, vectorization_mode="async")


def test_async_without_shared_memory_is_right() -> None:
    env_id = "turnwise/Lookup-v0"
    sync = gymnasium.make_vec(env_id, num_envs=2, vectorization_mode="sync")
    other = gymnasium.make_vec(
        env_id, num_envs=2, vectorization_mode="async", vector_kwargs={"shared_memory": False, "context": "spawn"}
    )
    assert list(sync.reset(seed=[1, 2])[0]) == list(other.reset(seed=[1, 2])[0])
    for actions in (["é\n🙂", ""], ["<answer>x</answer>", "hello"]):
        one, two = sync.step(actions), other.step(actions)
        assert list(one[0]) == list(two[0])
        assert all(np.array_equal(a, b) for a, b in zip(one[1:4], two[1:4], strict=True))
    sync.close()
    other.close()
