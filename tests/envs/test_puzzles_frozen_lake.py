"""turnwise/FrozenLake-v0: Gymnasium's rules, step by step against Gymnasium's own environment."""

import gymnasium
import numpy as np
import pytest

from turnwise.envs.puzzles.frozen_lake import LEVELS, FrozenLake, lake_task
from turnwise.envs.puzzles.sokoban_rules import DIRECTIONS, read_moves
from turnwise.errors import ConfigError

GYM = {"left": 0, "down": 1, "right": 2, "up": 3}


def cell_of(board: str) -> int:
    return board.replace(" ", "").replace("\n", "").index("@")


@pytest.mark.parametrize("slippery", [False, True])
@pytest.mark.parametrize("level", LEVELS)
def test_steps_as_gymnasium_does(level: int, slippery: bool) -> None:
    """Random moves from the same generator state: same cells, rewards and ends, also on slippery ice."""
    rng = np.random.default_rng(level)
    env = FrozenLake(difficulty=level, slippery=slippery, success_rate=0.6, instructions=False, max_turns=10**6)
    for seed in range(4):
        env.reset(seed=seed)
        rows = env.task.metadata["map"]
        peer = gymnasium.make(
            "FrozenLake-v1", desc=rows, is_slippery=slippery, success_rate=0.6, max_episode_steps=10**6
        ).unwrapped
        for _ in range(4):
            env.reset(seed=seed, options={"task": env.task})
            peer.reset(seed=seed)
            env.np_random, peer.np_random = (np.random.default_rng((level, seed)) for _ in range(2))
            for word in rng.choice(DIRECTIONS, 60).tolist():
                board, reward, terminated, _, info = env.step(word)
                state, peer_reward, peer_terminated, _, _ = peer.step(GYM[word])
                assert (cell_of(board), reward, terminated) == (state, peer_reward, peer_terminated)
                assert info["outcome"] == reward
                if terminated:
                    break


@pytest.mark.parametrize("level", LEVELS)
def test_chances_are_gymnasiums(level: int) -> None:
    """Where each move may lead on slippery ice, from every cell."""
    env = FrozenLake(difficulty=level, slippery=True)
    env.reset(seed=level)
    peer = gymnasium.make("FrozenLake-v1", desc=env.task.metadata["map"], is_slippery=True).unwrapped
    for state, moves in peer.P.items():
        for index, word in enumerate(DIRECTIONS):
            outcomes = moves[GYM[word]]
            if len(outcomes) == 3:
                assert env._next(state, index) == outcomes[1][1]
                assert outcomes[1][0] == pytest.approx(env.success_rate)


@pytest.mark.parametrize("name", ["4x4", "8x8"])
def test_gymnasiums_maps(name: str) -> None:
    rows = gymnasium.envs.toy_text.frozen_lake.MAPS[name]
    env = FrozenLake()
    env.reset(options={"task": lake_task(rows)})
    assert env.task.metadata["length"] == 2 * len(rows) - 2
    total = 0.0
    while env._playing:
        total += env.step(env.expert_action())[1]
    assert total == 1.0


def test_a_hole_ends_it_with_nothing_and_the_rest_of_the_reply_is_ignored() -> None:
    env = FrozenLake(instructions=False)
    task = lake_task(["SFF", "HFF", "FFG"])
    assert env.reset(options={"task": task})[0] == "@ _ _\nO _ _\n_ _ G"
    observation, reward, terminated, truncated, info = env.step("left, down right down right")
    assert observation == "_ _ _\n@ _ _\n_ _ G\nYou fell into a hole."
    assert (reward, terminated, truncated, info["outcome"], info["valid_action"]) == (0.0, True, False, 0.0, True)
    env.reset(options={"task": task})
    observation, reward, terminated, *_ = env.step("right down down right up up")
    assert (observation, reward, terminated) == ("_ _ _\nO _ _\n_ _ @\nYou are at the goal.", 1.0, True)


def test_the_expert_walks_a_shortest_way_in_no_straight_line() -> None:
    for level, (_, low, high) in LEVELS.items():
        env = FrozenLake(difficulty=level)
        for seed in range(40):
            env.reset(seed=seed)
            moves = [word for turn in iter(lambda env=env: _played(env), "") for word in turn.split()]
            assert low <= len(moves) == env.task.metadata["length"] <= high
            assert len(set(moves)) > 1


def _played(env: FrozenLake) -> str:
    if not env._playing:
        return ""
    action = env.expert_action()
    env.step(action)
    return action.removeprefix("<answer>").removesuffix("</answer>")


def test_the_expert_on_slippery_ice_arrives_as_often_as_can_be() -> None:
    """On Gymnasium's 4 x 4 map the best policy arrives in 82 of 100 episodes (value iteration by others: 0.823)."""
    env = FrozenLake(slippery=True, max_turns=2_000)
    task, won = lake_task(gymnasium.envs.toy_text.frozen_lake.MAPS["4x4"]), 0.0
    for seed in range(200):
        env.reset(seed=seed, options={"task": task})
        while env._playing:
            won += env.step(env.expert_action())[1]
    assert 0.74 <= won / 200 <= 0.90


@pytest.mark.parametrize("rows", [[], ["SF", "G"], ["SG", "SF"], ["SHG"], ["SXG"]])
def test_wrong_maps_are_refused(rows: list[str]) -> None:
    with pytest.raises(ConfigError, match="lake_task"):
        lake_task(rows)


def test_wrong_settings_and_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="success_rate"):
        FrozenLake(success_rate=1.5)
    env = FrozenLake()
    task = lake_task(["SFG"])
    with pytest.raises(ConfigError, match="FrozenLake: task"):
        env.reset(options={"task": type(task)("frozen_lake/x", "p", "", 1, {"map": ["??"], "length": 1})})


def test_the_picture_shows_every_cell() -> None:
    env = FrozenLake(render_mode="rgb_array", difficulty=1)
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (192, 192, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()


def test_each_move_counts_towards_the_limit_and_fixed_walks_hardly_arrive() -> None:
    env, arrived = FrozenLake(), 0
    for walk in ("right down", "left up", "right", "up left", "uuulrrrddrdddlluluu"):
        for seed in range(50):
            first, _ = env.reset(seed=seed, options={"difficulty": seed % 5 + 1, "split": "test"})
            limit, turns, over = env.turn_limit(env.task), 0, False
            assert limit == env.task.metadata["length"] * 3 // 2 and f"You have {limit} moves." in first
            while not over:
                terminated, over, info = env.step(walk)[2:]
                turns, over = turns + 1, over or terminated
            assert terminated or turns == -(-limit // len(read_moves(walk)))
            arrived += info["outcome"] == 1.0
    assert arrived <= 0.05 * 5 * 50
