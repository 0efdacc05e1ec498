"""turnwise/SlidingTiles-v0: the moves, and the table of all boards against numbers known from elsewhere."""

import numpy as np
import pytest

from turnwise.envs.puzzles.sliding_tiles import LENGTHS, SlidingTiles
from turnwise.envs.puzzles.sliding_tiles_table import SOLVED, rank, table
from turnwise.errors import ConfigError
from turnwise.types import Task

NEAREST = [1, 2, 4, 8, 16, 20, 39, 62, 116, 152, 286, 396, 748, 1024, 1893, 2512]
"""Boards of the 8-puzzle t moves from solved with the blank in a corner (OEIS A089473)."""


def task_of(start: object, goal: object = SOLVED, length: int = 2) -> Task:
    return Task("sliding_tiles/test", "Slide.", "", 1, {"start": start, "goal": goal, "length": length})


def test_the_table_has_every_board() -> None:
    counts = [len(layer) for layer in table().layers]
    assert counts[:16] == NEAREST and sum(counts) == 181_440 and len(counts) == 32 and counts[-1] == 2
    assert int((table().distances >= 0).sum()) == 181_440
    assert rank(range(9)) == 0 and rank(range(8, -1, -1)) == 362_879 and table().distances[rank(SOLVED)] == 0
    assert table().boards(2, 3) == 12
    assert len({table().board(2, 3, index) for index in range(12)}) == 12


def test_an_episode() -> None:
    env = SlidingTiles()
    first, _ = env.reset(options={"task": task_of([1, 2, 3, 4, 0, 5, 7, 8, 6])})
    assert first.endswith("\n\nGoal:\n1 2 3\n4 5 6\n7 8 _\nBoard:\n1 2 3\n4 _ 5\n7 8 6")
    assert env.step("1")[0] == "1 2 3\n4 _ 5\n7 8 6\nNot beside the blank."
    board, reward, terminated, _, info = env.step("<answer>8, 7 6</answer>")
    assert board == "1 2 3\n4 8 5\n_ 7 6\nNot beside the blank: 1 of 3 tiles."
    assert (reward, terminated, info["valid_action"]) == (0.0, False, True)
    board, reward, terminated, _, info = env.step("7 8 5 6 6 6")
    assert (board, reward, terminated, info["outcome"]) == ("1 2 3\n4 5 6\n7 8 _\nSolved.", 1.0, True, 1.0)


@pytest.mark.parametrize("reply", ["", "9", "0", "left", "1 2 x", "<answer>5", "1 " * 101, "٣", "12", "\ud800"])
def test_what_is_no_tile_changes_nothing(reply: str) -> None:
    env = SlidingTiles()
    env.reset(seed=0)
    before = env.render()
    observation, reward, terminated, _, info = env.step(reply)
    assert (reward, terminated, info["valid_action"]) == (0.0, False, False)
    assert observation.endswith(before) and len(observation) < 200


@pytest.mark.parametrize("level", LENGTHS)
def test_the_expert_needs_the_fewest_moves(level: int) -> None:
    low, high = LENGTHS[level]
    env = SlidingTiles(difficulty=level)
    for seed in range(15):
        env.reset(seed=seed)
        while env._playing:
            env.step(env.expert_action())
        assert low <= env.turn == env.task.metadata["length"] == len(env.task.answer.split()) <= high
        env.reset(options={"task": env.task})
        assert env.step(env.task.answer)[2]


def test_the_expert_goes_on_from_anywhere() -> None:
    rng, env = np.random.default_rng(0), SlidingTiles(difficulty=4, max_turns=200)
    for seed in range(5):
        env.reset(seed=seed)
        env.step(" ".join(map(str, rng.integers(1, 9, 60))))
        total = 0.0
        while env._playing:
            total += env.step(env.expert_action())[1]
        assert total == 1.0


@pytest.mark.parametrize("start", [None, [1, 2, 3], [2, 1, 3, 4, 5, 6, 7, 8, 0], list(SOLVED), [1] * 9])
def test_foreign_tasks_are_refused(start: object) -> None:
    with pytest.raises(ConfigError, match="SlidingTiles: task"):
        SlidingTiles().reset(options={"task": task_of(start)})


def test_the_picture() -> None:
    env = SlidingTiles(render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (96, 96, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()
