"""turnwise/TowerOfHanoi-v0: the moves, and the closed form against a search."""

from itertools import product

import numpy as np
import pytest

from turnwise.envs.puzzles.tower_of_hanoi import LEVELS, Position, TowerOfHanoi, shortest
from turnwise.errors import ConfigError
from turnwise.types import Task

TASK = Task("tower_of_hanoi/test", "Move.", "", 1, {"sizes": [2, 5, 9], "start": [0, 0, 1], "goal": [2, 2, 1], "length": 3})


def played(position: Position, source: int, target: int) -> Position | None:
    """The position after a move, by the plainest reading of the rules; None if it is not allowed."""
    top = next((disc for disc, peg in enumerate(position) if peg == source), None)
    if top is None or source == target or target in position[:top]:
        return None
    return (*position[:top], target, *position[top + 1 :])


def searched(start: Position) -> dict[Position, int]:
    """Breadth-first: moves from `start` to every position."""
    far, edge = {start: 0}, [start]
    while edge:
        ahead = [
            after for here in edge for move in product(range(3), repeat=2) if (after := played(here, *move)) and after not in far
        ]
        far.update(dict.fromkeys(ahead, far[edge[0]] + 1))
        edge = list(dict.fromkeys(ahead))
    return far


@pytest.mark.parametrize("discs", [1, 2, 3, 4])
def test_shortest_is_what_a_search_finds(discs: int) -> None:
    """All pairs of positions, and the first move leads one nearer."""
    for start in product(range(3), repeat=discs):
        far = searched(start)
        assert len(far) == 3**discs
        for goal, moves in far.items():
            length, first = shortest(goal, start)
            assert length == moves
            if moves:
                after = played(goal, *first)
                assert after is not None and far[after] == moves - 1


def test_the_classic() -> None:
    assert shortest((0,) * 7, (2,) * 7) == (127, (0, 2))
    assert shortest((0,) * 8, (2,) * 8) == (255, (0, 1))


def test_an_episode() -> None:
    env = TowerOfHanoi()
    first, _ = env.reset(options={"task": TASK})
    assert first.endswith("\n\nGoal:\nA: _\nB: 9\nC: 5 2\nNow:\nA: 5 2\nB: 9\nC: _")
    board, reward, terminated, _, info = env.step("<answer>AB, A->B CA</answer>")
    assert board == "A: 5\nB: 9 2\nC: _\nMove AB is not allowed: disc 5 is larger than disc 2. The 1 after it were not played."
    assert (reward, terminated, info["valid_action"]) == (0.0, False, True)
    assert env.step("CA")[0].endswith("Move CA is not allowed: there is no disc on C.")
    assert env.step("BB")[0].endswith("Move BB is not allowed: it stays on its peg.")
    board, reward, terminated, _, info = env.step("A to C; b c\nCA")
    assert (board, reward, terminated, info["outcome"]) == ("A: _\nB: 9\nC: 5 2\nSolved.", 1.0, True, 1.0)


@pytest.mark.parametrize("reply", ["", "A", "ABC", "AD", "1 2", "<answer>AC", "AC " * 101, "x" * 9_000, "\ud800"])
def test_what_is_no_move_changes_nothing(reply: str) -> None:
    env = TowerOfHanoi()
    env.reset(seed=0)
    before = env.render()
    observation, reward, terminated, _, info = env.step(reply)
    assert (reward, terminated, info["valid_action"]) == (0.0, False, False)
    assert observation.endswith(before) and len(observation) < 250


@pytest.mark.parametrize("level", LEVELS)
def test_the_expert_needs_the_fewest_moves(level: int) -> None:
    _, low, high = LEVELS[level]
    env = TowerOfHanoi(difficulty=level)
    for seed in range(8):
        env.reset(seed=seed)
        total = 0.0
        while env._playing:
            total += env.step(env.expert_action())[1]
        assert total == 1.0 and low <= env.turn == env.task.metadata["length"] <= high


def test_the_expert_goes_on_from_anywhere() -> None:
    rng, env = np.random.default_rng(0), TowerOfHanoi(difficulty=3, max_turns=300)
    for seed in range(5):
        env.reset(seed=seed)
        for _ in range(40):
            env.step("".join(rng.choice(list("ABC"), 2)))
        total = 0.0
        while env._playing:
            total += env.step(env.expert_action())[1]
        assert total == 1.0


@pytest.mark.parametrize(
    "wrong", [{"start": None}, {"start": [0, 0, 3]}, {"start": [2, 2, 1]}, {"sizes": [5, 2, 9]}, {"goal": [1]}]
)
def test_foreign_tasks_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="TowerOfHanoi: task"):
        TowerOfHanoi().reset(options={"task": Task("hanoi/x", "p", "", 1, {**TASK.metadata, **wrong})})


def test_the_picture() -> None:
    env = TowerOfHanoi(render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (6 * 32, 7 * 32, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()
