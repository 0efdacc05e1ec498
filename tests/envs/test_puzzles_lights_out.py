"""turnwise/LightsOut-v0: the presses, and the solver against trying everything."""

import numpy as np
import pytest

from turnwise.envs.puzzles.lights_out import PRESSES, LightsOut
from turnwise.envs.puzzles.lights_out_solver import fewest_presses, plus
from turnwise.errors import ConfigError
from turnwise.types import Task


def task_of(rows: object) -> Task:
    return Task("lights_out/test", "Out.", "", 1, {"lights": rows, "length": 2})


def pressed(side: int, buttons: int) -> int:
    lights = 0
    for button, toggles in enumerate(plus(side)):
        lights ^= toggles if buttons >> button & 1 else 0
    return lights


@pytest.mark.parametrize("side", [2, 3])
def test_the_solver_finds_the_fewest_of_all(side: int) -> None:
    best: dict[int, int] = {}
    for buttons in range(2 ** (side * side)):
        lights = pressed(side, buttons)
        best[lights] = min(best.get(lights, 99), buttons.bit_count())
    for lights, presses in best.items():
        found = fewest_presses(side, lights)
        assert found is not None and pressed(side, found) == lights and found.bit_count() == presses


def test_known_boards() -> None:
    """4 x 4: 2^12 boards can be solved, in at most 7 presses; 5 x 5: 2^23, one in four; all on in 15 (OEIS A075462, A075464)."""
    assert sum(fewest_presses(4, lights) is not None for lights in range(0, 2**16, 16)) == 2**12 // 16
    full = fewest_presses(5, 2**25 - 1)
    assert full is not None and full.bit_count() == 15
    assert fewest_presses(5, 1) is None


@pytest.mark.parametrize("side", range(4, 10))
def test_the_solver_undoes_random_presses(side: int) -> None:
    rng = np.random.default_rng(side)
    for _ in range(20):
        buttons = int("".join(map(str, rng.integers(0, 2, side * side))), 2)
        found = fewest_presses(side, pressed(side, buttons))
        assert found is not None and pressed(side, found) == pressed(side, buttons)
        assert found.bit_count() <= buttons.bit_count()


def test_an_episode() -> None:
    env = LightsOut()
    first, _ = env.reset(options={"task": task_of(["OO_", "___", "_OO"])})
    assert first.endswith("\n\n  A B C\n1 O O _\n2 _ _ _\n3 _ O O")
    board, reward, terminated, _, info = env.step("<answer>a1, B2</answer>")
    assert (board, reward, terminated, info["valid_action"]) == ("  A B C\n1 _ O _\n2 _ O O\n3 _ _ O", 0.0, False, True)
    board, *_ = env.step("D4")
    assert board.startswith("'D4' is not a button from A1 to C3.")
    env.step("A1 B2")
    while env._playing:
        board, reward, terminated, _, info = env.step(env.expert_action())
    assert (board, reward, terminated, info["outcome"]) == (
        "  A B C\n1 _ _ _\n2 _ _ _\n3 _ _ _\nAll lights are out.",
        1.0,
        True,
        1.0,
    )


@pytest.mark.parametrize("reply", ["", "B", "3B", "A0", "H1", "A1 B", "<answer>A1", "A1 " * 101, "ß1", "\ud800"])
def test_what_is_no_button_changes_nothing(reply: str) -> None:
    env = LightsOut()
    env.reset(seed=0)
    before = env.render()
    observation, reward, terminated, _, info = env.step(reply)
    assert (reward, terminated, info["valid_action"]) == (0.0, False, False)
    assert observation.endswith(before) and len(observation) < 300


@pytest.mark.parametrize("level", PRESSES)
@pytest.mark.parametrize("side", [6, 7, 9])
def test_the_expert_needs_the_fewest_presses(level: int, side: int) -> None:
    low, high = PRESSES[level]
    env = LightsOut(difficulty=level, side=side)
    for seed in range(5):
        env.reset(seed=seed)
        while env._playing:
            env.step(env.expert_action())
        assert low <= env.turn == env.task.metadata["length"] == len(env.task.answer.split()) <= high
        env.reset(options={"task": env.task})
        assert env.step(env.task.answer)[2]


def test_wrong_settings_and_tasks_are_refused() -> None:
    for side in (4, 10):
        with pytest.raises(ConfigError, match="side"):
            LightsOut(side=side)
    with pytest.raises(ConfigError, match="larger one"):
        LightsOut(side=5, difficulty=5).reset(seed=0)
    for rows in (None, ["OO"], ["__", "__"], ["OX", "__"], ["O____", *["_____"] * 4]):
        with pytest.raises(ConfigError, match="LightsOut: task"):
            LightsOut().reset(options={"task": task_of(rows)})


def test_the_picture() -> None:
    env = LightsOut(render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (7 * 32, 7 * 32, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()
