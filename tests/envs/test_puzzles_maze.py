"""turnwise/Maze-v0: the mazes, the moves, what can be seen."""

import numpy as np
import pytest

from turnwise.envs.draws import Draws
from turnwise.envs.puzzles.grid_paths import bits, first_run, layers, shortest_path
from turnwise.envs.puzzles.maze import LEVELS, Maze, grown_maze
from turnwise.errors import ConfigError
from turnwise.types import Task

ROWS = ["#######", "#@_#__#", "##_#_##", "#____G#", "#######"]
TASK = Task("maze/test", "Walk.", "", 1, {"maze": ROWS, "length": 6})


@pytest.mark.parametrize("rooms", [3, 6, 10])
def test_perfect_mazes_are_trees_and_braided_ones_have_loops(rooms: int) -> None:
    """Rooms and passages of a perfect maze: connected, and one passage fewer than rooms."""
    for seed in range(10):
        width = 2 * rooms + 1
        for braid in (0.0, 1.0):
            free = grown_maze(Draws(np.random.default_rng(seed)), rooms, braid)
            cells = bits(free)
            assert sum(mask.bit_count() for mask in layers(free, 1 << cells[0], width)) == len(cells)
            ends = sum(sum(free >> cell + step & 1 for step in (1, -1, width, -width)) == 1 for cell in cells)
            passages = len(cells) - rooms**2
            assert (passages == rooms**2 - 1 and ends > 0) if braid == 0.0 else (passages >= rooms**2 and ends == 0)


def test_an_episode() -> None:
    env = Maze()
    first, _ = env.reset(options={"task": TASK})
    assert first.endswith("\n\n# # # # # # #\n# @ _ # _ _ #\n# # _ # _ # #\n# _ _ _ _ G #\n# # # # # # #")
    board, reward, terminated, truncated, info = env.step("up right right")
    assert board == "# # # # # # #\n# _ @ # _ _ #\n# # _ # _ # #\n# _ _ _ _ G #\n# # # # # # #\nBlocked: 2 of 3 moves."
    assert (reward, terminated, truncated, info["valid_action"]) == (0.0, False, False, True)
    board, _, _, _, info = env.step("go")
    assert not info["valid_action"] and board.startswith("'go' is not a move.")
    board, reward, terminated, _, info = env.step("<answer>down down, rrr uuu</answer>")
    assert board.endswith("You are at the goal.") and (reward, terminated, info["outcome"]) == (1.0, True, 1.0)


def test_sight() -> None:
    env = Maze(sight=1, instructions=False)
    assert env.reset(options={"task": TASK})[0] == "# # # ? ? ? ?\n# @ _ ? ? ? ?\n# # _ ? ? ? ?\n? ? ? ? ? ? ?\n? ? ? ? ? ? ?"
    assert env.step("right down down right right")[0].split("\n")[3] == "? ? ? _ @ G ?"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("braid", [0.0, 0.3, 1.0])
def test_levels_are_lengths_of_shortest_ways(level: int, braid: float) -> None:
    env = Maze(difficulty=level, braid=braid)
    for seed in range(5):
        env.reset(seed=seed)
        _, low, high = LEVELS[level]
        moves = env.task.answer.split()
        assert low <= len(moves) == env.task.metadata["length"] <= high
        twin = env.fork()
        assert twin.step(" ".join(moves[:-1]))[1] == 0.0  # nothing shorter gets there
        assert env.step(" ".join(moves[:90]))[2] == (len(moves) <= 90)


def test_the_expert_goes_on_from_anywhere() -> None:
    rng = np.random.default_rng(0)
    env = Maze(difficulty=3, max_turns=500)
    for seed in range(5):
        env.reset(seed=seed)
        for _ in range(10):
            env.step(str(rng.choice(["up", "down", "left", "right"])))
        total = 0.0
        while env._playing:
            total += env.step(env.expert_action())[1]
        assert total == 1.0


def test_paths_by_hand() -> None:
    free = int("".join(ROWS)[::-1].translate({ord("#"): "0", ord("_"): "1", ord("@"): "1", ord("G"): "1"}), 2)
    path = shortest_path(free, 8, 26, 7)
    assert path == [3, 1, 1, 3, 3, 3] and first_run(path) == "<answer>right</answer>"
    assert first_run(path[1:]) == "<answer>down down</answer>"
    assert shortest_path(free, 8, 0, 7) == [] and bits(0b1010) == [1, 3]
    assert [bits(mask) for mask in layers(free, 1 << 8, 7)][:3] == [[8], [9], [16]]


@pytest.mark.parametrize("wrong", [{"braid": -0.1}, {"braid": 2}, {"sight": 0}])
def test_wrong_settings_are_named(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Maze(**wrong)


@pytest.mark.parametrize("rows", [["@_G"], ["###", "#@#", "###"], ["####", "#@G#"], ["####", "#@GX", "####"], None])
def test_foreign_tasks_are_refused(rows: object) -> None:
    with pytest.raises(ConfigError, match="Maze: task 'maze/x'"):
        Maze().reset(options={"task": Task("maze/x", "p", "", 1, {"maze": rows, "length": 1})})


def test_the_picture_is_the_board() -> None:
    env = Maze(render_mode="rgb_array", difficulty=1)
    env.reset(seed=0)
    image = env.render()
    assert image.shape == (11 * 32, 11 * 32, 3) and image.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != image).any()


def test_each_move_counts_towards_the_limit() -> None:
    """Else a walk without aim arrives: 100 random moves a reply solved seven mazes of ten."""
    rng, env, arrived = np.random.default_rng(0), Maze(), 0
    for seed in range(60):
        first, _ = env.reset(seed=seed, options={"difficulty": seed % 5 + 1, "split": "test"})
        limit, moves, over = env.turn_limit(env.task), 0, False
        assert f"You have {limit} moves." in first
        while not over:
            _, _, terminated, truncated, _ = env.step(" ".join(rng.choice(["up", "down", "left", "right"], 7)))
            moves, over = moves + 7, terminated or truncated
            arrived += terminated
        assert terminated or limit <= moves < limit + 7
    assert arrived <= 3


def test_turns_are_counted_where_they_are_limited() -> None:
    env = Maze(max_turns=3)
    assert "You have" not in env.reset(seed=0)[0]
    assert [env.step("up down " * 50)[3] for _ in range(3)] == [False, False, True]
