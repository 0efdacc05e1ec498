"""turnwise/Sudoku-v0: the grids have one solution, and the fills do what they say."""

import numpy as np
import pytest

from turnwise.envs.puzzles.sudoku import BLANKS, Sudoku
from turnwise.errors import ConfigError
from turnwise.types import Task

FULL = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
GIVEN = "530678912672195348198342567859761423426853791713924856961537284287419635345286100"
TASK = Task("sudoku/test", "Solve.", FULL, 1, {"given": GIVEN})


def solutions(grid: list[int]) -> int:
    """How many there are, up to 2, by plain backtracking on the emptiest choice."""
    best: tuple[int, set[int]] | None = None
    for cell in range(81):
        if grid[cell] == 0:
            row, column = divmod(cell, 9)
            seen = {
                grid[i] for i in range(81) if i // 9 == row or i % 9 == column or (i // 27, i % 9 // 3) == (row // 3, column // 3)
            }
            options = set(range(1, 10)) - seen
            if best is None or len(options) < len(best[1]):
                best = (cell, options)
    if best is None:
        return 1
    found = 0
    for digit in best[1]:
        grid[best[0]] = digit
        found += solutions(grid)
        if found > 1:
            break
    grid[best[0]] = 0
    return found


@pytest.mark.parametrize("level", BLANKS)
def test_every_puzzle_has_one_solution(level: int) -> None:
    low, high = BLANKS[level]
    env = Sudoku(difficulty=level)
    for seed in range(2):
        env.reset(seed=seed)
        given = env.task.metadata["given"]
        assert low <= given.count("0") <= high
        assert solutions([int(digit) for digit in given]) == 1


def test_an_episode() -> None:
    env = Sudoku()
    first, _ = env.reset(options={"task": TASK})
    assert first.split("\n\n")[1].split("\n")[:2] == ["  A B C D E F G H I", "1 5 3 _ 6 7 8 9 1 2"]
    observation, reward, terminated, _, info = env.step("<answer>C1=5, h9:7</answer>")
    assert observation.endswith(
        "9 3 4 5 2 8 6 1 7 _\n5 is twice in row 1.\n5 is twice in column C.\n5 is twice in the box of C1."
    )
    assert (reward, terminated, info["valid_action"]) == (0.0, False, True)
    assert env.expert_action() == "<answer>C1=4</answer>"
    assert "1 5 3 _ 6" in env.step("C1=0")[0]
    observation, reward, terminated, _, info = env.step("C1=4 I9=9")
    assert observation.endswith("\nSolved.") and (reward, terminated, info["outcome"]) == (1.0, True, 1.0)


@pytest.mark.parametrize(
    "reply", ["", "5", "A1=5", "J1=5", "C1=", "C1=10", "C0=1", "<answer>C1=4", "C1=4 " * 82, "C1=٤", "\ud800"]
)
def test_what_is_no_fill_changes_nothing(reply: str) -> None:
    env = Sudoku()
    env.reset(options={"task": TASK})
    before = env.render()
    observation, reward, terminated, _, info = env.step(reply)
    assert (reward, terminated, info["valid_action"]) == (0.0, False, False)
    assert observation.endswith(before) and len(observation) < 400


def test_the_expert_mends_what_is_wrong() -> None:
    rng, env = np.random.default_rng(0), Sudoku(difficulty=3)
    for seed in range(3):
        env.reset(seed=seed)
        empty = [i for i, digit in enumerate(env.task.metadata["given"]) if digit == "0"]
        env.step(" ".join(f"{'ABCDEFGHI'[i % 9]}{i // 9 + 1}={rng.integers(1, 10)}" for i in empty[:12]))
        total = 0.0
        while env._playing:
            total += env.step(env.expert_action())[1]
        assert total == 1.0


@pytest.mark.parametrize(("given", "answer"), [("", FULL), (GIVEN, "1" * 81), (FULL, FULL), ("9" + GIVEN[1:], FULL), (GIVEN, "")])
def test_foreign_tasks_are_refused(given: str, answer: str) -> None:
    with pytest.raises(ConfigError, match="Sudoku: task"):
        Sudoku().reset(options={"task": Task("sudoku/x", "p", answer, 1, {"given": given})})


def test_the_picture() -> None:
    env = Sudoku(render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (9 * 32, 9 * 32, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()
