"""turnwise/Minesweeper-v0: numbers and openings, and that reasoning never errs."""

from itertools import combinations

import numpy as np
import pytest

from turnwise.envs.puzzles.minesweeper import LEVELS, Minesweeper
from turnwise.envs.puzzles.minesweeper_solver import around, blank_cells, opened, safe_cells
from turnwise.errors import ConfigError
from turnwise.types import Task

TASK = Task("minesweeper/test", "Open.", "C1", 1, {"mines": ["__*", "___", "*__"], "first": 0})


def test_an_episode() -> None:
    env = Minesweeper()
    first, _ = env.reset(options={"task": TASK})
    assert first.endswith("\n\n   A B C\n 1 0 1 ?\n 2 1 2 ?\n 3 ? ? ?")
    lost = env.fork()
    assert env.step("A1")[0].endswith("\nOpen already.")
    assert env.step("<answer>c3</answer>")[:3] == ("   A B C\n 1 0 1 ?\n 2 1 2 1\n 3 ? 1 0\nAll safe cells are open.", 1.0, True)
    observation, reward, terminated, _, info = lost.step("B3, C1 C3")
    assert observation == "   A B C\n 1 0 1 *\n 2 1 2 ?\n 3 ? 1 ?\nC1 was a mine."
    assert (reward, terminated, info["outcome"], info["valid_action"]) == (0.0, True, 0.0, True)


@pytest.mark.parametrize("reply", ["", "3", "A0", "G1", "A7", "A11", "<answer>A1", "A1 " * 101, "A1 x", "A١", "\ud800"])
def test_what_is_no_cell_changes_nothing(reply: str) -> None:
    env = Minesweeper(difficulty=1)
    env.reset(seed=0)
    before = env.render()
    observation, reward, terminated, _, info = env.step(reply)
    assert (reward, terminated, info["valid_action"]) == (0.0, False, False)
    assert observation.endswith(before) and len(observation) < 300


def test_reasoning_against_all_layouts() -> None:
    """4 x 4 with 3 mines: what the solver calls safe is safe in every layout with the same numbers."""
    rng, side, said = np.random.default_rng(0), 4, 0
    layouts = [sum(1 << cell for cell in cells) for cells in combinations(range(16), 3)]
    numbers = {mines: tuple((near & mines).bit_count() for near in around(side)) for mines in layouts}
    for mines in rng.permutation(layouts)[:60].tolist():
        free = [cell for cell in range(16) if not mines >> cell & 1]
        shown = 0
        for cell in rng.permutation(free)[:3].tolist():
            shown = opened(side, blank_cells(numbers[mines]), shown, 1 << cell)
        safe = safe_cells(side, numbers[mines], shown, 3)
        seen = [cell for cell in range(16) if shown >> cell & 1]
        fits = [m for m in layouts if not m & shown and all(numbers[m][c] == numbers[mines][c] for c in seen)]
        assert mines in fits and not any(m & safe for m in fits) and not safe & shown
        said += bool(safe)
    assert said > 20


@pytest.mark.parametrize("level", LEVELS)
def test_the_expert_opens_all_and_never_guesses(level: int) -> None:
    side, mines = LEVELS[level]
    env = Minesweeper(difficulty=level)
    for seed in range(4):
        env.reset(seed=seed)
        assert env._mines.bit_count() == mines == len(env.task.answer.split())
        total = 0.0
        while env._playing:
            assert safe_cells(side, env._numbers, env._shown, mines)
            total += env.step(env.expert_action())[1]
        assert total == 1.0


@pytest.mark.parametrize(
    "wrong",
    [{"mines": None}, {"mines": ["_*"]}, {"first": 2}, {"first": -1}, {"mines": ["___"] * 3}, {"mines": ["__*", "___", "___"]}],
)
def test_foreign_tasks_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="Minesweeper: task"):
        Minesweeper().reset(options={"task": Task("minesweeper/x", "p", "", 1, {**TASK.metadata, **wrong})})


def test_the_picture() -> None:
    env = Minesweeper(render_mode="rgb_array", difficulty=1)
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (6 * 32, 6 * 32, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()
