"""Gymnasium's environments as text: five that are told in words, others in the general way, forks of both kinds."""

from typing import Any

import gymnasium
import gymnasium.envs.registration
import numpy as np
import pytest
from gymnasium.envs.toy_text.frozen_lake import generate_random_map

from turnwise.envs.adapters.gymnasium_env import GymnasiumEnv, from_gymnasium
from turnwise.envs.testing import check_turn_env
from turnwise.envs.testing.kit import RULES
from turnwise.errors import ConfigError, EnvFailure, UnknownName, Unsupported

DRY = [{"map_name": "4x4", "is_slippery": False}, {"map_name": "8x8", "is_slippery": False}]


def played(env: GymnasiumEnv, seed: int, level: int = 1) -> tuple[str, float, dict[str, Any], int]:
    observation, _ = env.reset(seed=seed, options={"difficulty": level})
    total, over, info = 0.0, False, {}
    while not over:
        observation, reward, terminated, truncated, info = env.step(env.expert_action())
        total, over = total + reward, terminated or truncated
    return observation, total, info, env.turn


def test_frozen_lake_in_words() -> None:
    env = from_gymnasium("FrozenLake-v1", levels=DRY)
    observation, _ = env.reset(seed=0)
    assert observation.endswith("\n\n@FFF\nFHFH\nFFFH\nHFFG") and "Actions: left, down, right, up." in observation
    assert env.step("<answer>RIGHT</answer>")[0] == "S@FF\nFHFH\nFFFH\nHFFG"
    assert env.step("I think 0")[4]["valid_action"] is False
    assert env.step("0")[0] == "@FFF\nFHFH\nFFFH\nHFFG"
    assert [played(env, 0, level)[1:] for level in (1, 2)] == [
        (1.0, {"outcome": 1.0, "reward_terms": {"game": 1.0}, "valid_action": True, "role": "user"}, turns) for turns in (6, 14)
    ]


@pytest.mark.parametrize(
    ("name", "outcome", "text"),
    [
        ("Taxi-v4", 1.0, "Passenger: at "),
        ("CliffWalking-v1", 1.0, "@CCCCCCCCCCG"),
        ("Blackjack-v1", None, "The dealer shows "),
        ("CartPole-v1", 1.0, "pole angle: "),
    ],
)
def test_others_in_words(name: str, outcome: float | None, text: str) -> None:
    env = from_gymnasium(name)
    assert text in env.reset(seed=3)[0]
    _, total, info, _ = played(env, 3)
    assert outcome is None or info["outcome"] == outcome
    assert played(env, 3)[1] == total
    if outcome is None:
        results = {played(env, seed)[2]["outcome"] for seed in range(12)}
        assert results == {0.0, 1.0}


def test_a_hole_ends_it_unsolved() -> None:
    env = from_gymnasium("FrozenLake-v1", levels=DRY)
    env.reset(seed=0)
    env.step("right")
    _, reward, terminated, truncated, info = env.step("down")
    assert (reward, terminated, truncated, info["outcome"]) == (0.0, True, False, 0.0)


def test_the_time_limit_is_the_wrapped_one() -> None:
    env = from_gymnasium("FrozenLake-v1", levels=[{"is_slippery": False, "max_episode_steps": 3}])
    env.reset(seed=0)
    assert env.turn_limit(env.task) == 3
    assert [env.step("left")[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]


def test_by_id_and_its_spec_goes_through_json() -> None:
    env = gymnasium.make("turnwise/Gymnasium-v0", env_id="FrozenLake-v1", levels=DRY)
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))  # type: ignore[union-attr]
    assert again.reset(seed=5) == env.reset(seed=5)


def lakes(rng: np.random.Generator, level: int) -> dict[str, Any]:
    return {"desc": generate_random_map(3 + level, seed=int(rng.integers(2**31))), "is_slippery": False}


def make_lakes() -> GymnasiumEnv:
    return from_gymnasium("FrozenLake-v1", levels=lakes, count=3)


def test_the_contract_of_drawn_lakes() -> None:
    report = check_turn_env(make_lakes, tasks=4, distinct=30, rules=tuple(RULES))
    assert len(report.seen) == len(RULES)


def test_slippery_ice_forks_and_replays() -> None:
    rules = ["replays", "forks_continue_equally", "forks_are_independent", "tasks_replay", "survives_hostile_actions"]
    for fork_by in ("copy", "replay"):
        made = check_turn_env(lambda fork_by=fork_by: from_gymnasium("FrozenLake-v1", fork_by=fork_by), tasks=2, rules=rules)
        assert len(made.seen) == len(rules)


class Stairs(gymnasium.Env[Any, Any]):
    """Up or down; cannot be copied; a dictionary is observed."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = gymnasium.spaces.Dict({"floor": gymnasium.spaces.Discrete(9), "wind": gymnasium.spaces.Box(-1, 1, (2,))})
    action_space = gymnasium.spaces.Discrete(2, start=5)
    chance = np.random.default_rng(0)

    def __init__(self, honest: bool = True) -> None:
        self.honest = honest

    def seen(self) -> dict[str, Any]:
        rng = self.np_random if self.honest else self.chance
        return {"floor": self.floor, "wind": rng.random(2).astype(np.float32)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.floor = 0
        return self.seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.floor += 1 if action == 5 else -1
        return self.seen(), float(self.floor == 3), self.floor == 3, self.floor < -2, {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise RuntimeError("bolted to the ground")


def test_somebody_elses_environment() -> None:
    env = from_gymnasium(Stairs, actions=["up", "down"], rules="Climb.")
    observation, _ = env.reset(seed=0)
    assert observation.startswith("Climb.\nActions: up, down.") and "floor: 0\nwind: [0." in observation
    env.step("up")
    twin = env.fork()
    assert twin.step("up") == env.step("up")
    assert env.step("5")[1:3] == (1.0, True)
    with pytest.raises(Unsupported, match="no expert is known for Stairs; give expert="):
        env.expert_action()
    assert from_gymnasium(Stairs, expert=lambda seen, env: 5).levels == range(1, 2)
    env.reset(seed=0)
    assert [env.step("down")[2:4] for _ in range(3)][-1] == (True, False)  # truncated before our own limit: it is over


def test_what_does_not_replay_cannot_be_forked() -> None:
    env = from_gymnasium(Stairs, levels=[{"honest": False}])
    env.reset(seed=0)
    with pytest.raises(EnvFailure, match="the same seed and actions led to another observation"):
        env.fork()
    with pytest.raises(Unsupported, match=r"bolted to the ground.*fork_by='replay'"):
        copied = from_gymnasium(Stairs, fork_by="copy")
        copied.reset(seed=0)
        copied.fork()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"env_id": "Pendulum-v1"}, ConfigError, "must have discrete actions"),
        ({"env_id": "Nope-v1"}, ConfigError, "Nope"),
        ({"env_id": "FrozenLake-v1", "levels": [{"size": 3}]}, ConfigError, "size"),
        ({"env_id": "FrozenLake-v1", "actions": ["a"]}, ConfigError, "has 4 actions, got 1 names"),
        ({"env_id": "FrozenLake-v1", "levels": []}, ConfigError, "levels must be one or more"),
        ({"env_id": "FrozenLake-v1", "fork_by": "magic"}, UnknownName, "way to fork"),
    ],
)
def test_wrong_settings(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        from_gymnasium(**given).reset(seed=0)
