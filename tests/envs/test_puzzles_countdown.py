"""turnwise/Countdown-v0: expressions, what they leave, and the search."""

from itertools import permutations, product

import numpy as np
import pytest

from turnwise.envs.math.calculator import CalculatorError, calculate
from turnwise.envs.puzzles.countdown import NUMBERS, Countdown, solve
from turnwise.errors import ConfigError
from turnwise.types import Task

TASK = Task("countdown/test", "Make.", "", 2, {"numbers": [3, 7, 25, 4], "target": 104, "steps": ["7 - 3", "25 * 4", "100 + 4"]})


def test_an_episode() -> None:
    env = Countdown()
    first, _ = env.reset(options={"task": TASK})
    assert first.endswith("\n\nTarget: 104. Numbers: 3 4 7 25.")
    assert env.step("<answer>25 * 4</answer>")[0] == "Target: 104. Numbers: 3 7 100."
    assert env.expert_action() != "<answer>reset</answer>"
    assert env.step("(7 + 3) * 100")[0] == "Target: 104. Numbers: 1000.\n1000 is not 104. Reset to start again."
    assert env.expert_action() == "<answer>reset</answer>"
    assert env.step("Reset")[0] == "Target: 104. Numbers: 3 4 7 25."
    observation, reward, terminated, _, info = env.step("(7-3) + 25×4")
    assert (observation, reward, terminated, info["outcome"]) == ("Target: 104. Numbers: 104.\nSolved.", 1.0, True, 1.0)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("7 + 7", "7 is used 2 times and is there 1 times."),
        ("8 + 3", "8 is used 1 times and is there 0 times."),
        ("104", "104 is used 1 times and is there 0 times."),
        ("25", "An expression combines at least two numbers."),
        ("3 - 7", "-4 is not a whole number of 0 or more."),
        ("7 / 3", "7/3 is not a whole number of 0 or more."),
    ],
)
def test_expressions_that_do_not_count(reply: str, says: str) -> None:
    env = Countdown()
    env.reset(options={"task": TASK})
    observation, reward, terminated, _, info = env.step(reply)
    assert observation == f"Target: 104. Numbers: 3 4 7 25.\n{says}"
    assert (reward, terminated, info["valid_action"]) == (0.0, False, True)


@pytest.mark.parametrize(
    "reply", ["", "seven", "7 +", "(7 + 3", "7 ^ 3", "7 ** 3", "2.5 * 4", "7 / (3 - 3)", "1" * 300, "<answer>7 + 3", "\ud800"]
)
def test_what_is_no_expression_changes_nothing(reply: str) -> None:
    env = Countdown()
    env.reset(options={"task": TASK})
    observation, reward, terminated, _, info = env.step(reply)
    assert (reward, terminated, info["valid_action"]) == (0.0, False, False)
    assert observation.endswith("\nTarget: 104. Numbers: 3 4 7 25.") and len(observation) < 300


@pytest.mark.parametrize("level", NUMBERS)
def test_the_expert_uses_every_number_once(level: int) -> None:
    env = Countdown(difficulty=level)
    for seed in range(20):
        env.reset(seed=seed)
        assert len(env.task.metadata["numbers"]) == NUMBERS[level]
        total = 0.0
        while env._playing:
            total += env.step(env.expert_action())[1]
        assert total == 1.0 and env.turn == NUMBERS[level] - 1 == len(env.task.answer.split("; "))


def test_the_expert_goes_on_from_anywhere() -> None:
    rng, env = np.random.default_rng(0), Countdown(difficulty=4, max_turns=50)
    for seed in range(10):
        env.reset(seed=seed)
        total = 0.0
        for _ in range(int(rng.integers(1, 6))):
            one, other = rng.permutation(env._numbers)[:2] if len(env._numbers) > 1 else (0, 0)
            total += env.step(f"{one} + {other}")[1]
            if not env._playing:
                break
        while env._playing:
            total += env.step(env.expert_action())[1]
        assert total == 1.0


def test_solve_finds_what_trying_all_expressions_finds() -> None:
    """Three numbers, every order, operators and brackets, through whole numbers of 0 or more."""
    numbers = (2, 3, 8)
    reachable: set[int] = set()
    for a, b, c in permutations(numbers):
        for p, q in product("+-*/", repeat=2):
            for text, inside in ((f"({a} {p} {b}) {q} {c}", f"{a} {p} {b}"), (f"{a} {p} ({b} {q} {c})", f"{b} {q} {c}")):
                try:
                    values = calculate(text).value, calculate(inside).value
                except CalculatorError:
                    continue
                if all(value.denominator == 1 and value >= 0 for value in values):
                    reachable.add(int(values[0]))
    for target in range(80):
        steps = solve(numbers, target)
        assert (steps is not None) == (target in reachable), target
    assert solve((5, 5), 1) == ["5 / 5"] and solve((2, 3), 7) is None


@pytest.mark.parametrize("wrong", [{"numbers": None}, {"numbers": [1]}, {"numbers": [1, -2]}, {"target": "x"}, {"steps": []}])
def test_foreign_tasks_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="Countdown: task"):
        Countdown().reset(options={"task": Task("countdown/x", "p", "", 1, {**TASK.metadata, **wrong})})


def test_the_picture() -> None:
    env = Countdown(render_mode="rgb_array", difficulty=1)
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (2 * 32, 3 * 32, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()
