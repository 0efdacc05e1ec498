"""Arithmetic and its calculator: worked values, bounds, the expert, the novice."""

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.envs import Task
from turnwise.envs.draws import Draws
from turnwise.envs.math.arithmetic import HABITS, Arithmetic, novice_action
from turnwise.envs.math.arithmetic_problem import LEVELS, build_tree, plan, reading_order, text_of, value_of
from turnwise.envs.math.calculator import CalculatorError, calculate
from turnwise.envs.testing import check_turn_env
from turnwise.errors import ConfigError, UnknownName

TREE = ["*", ["+", "7", "3/4"], ["-", "0.5", "2"]]


def task() -> Task:
    return Task("arithmetic/by-hand", text_of(TREE, spaced=False), str(value_of(TREE)), 5, {"tree": TREE})


def call(expression: str) -> str:
    return f'<tool_call>{{"name": "calculator", "arguments": {{"expression": "{expression}"}}}}</tool_call>'


def finish(env: Arithmetic) -> tuple[float, int]:
    """(reward, turns) of the expert from here on."""
    for turn in range(1, 500):
        _, reward, terminated, truncated, _ = env.step(env.expert_action())
        if terminated or truncated:
            return reward, turn
    raise AssertionError("the episode never ends")


@pytest.mark.parametrize(
    ("expression", "value", "operations"),
    [
        ("7", "7", 0),
        ("1+2*3", "7", 2),
        ("(1+2)*3", "9", 2),
        ("2-3-4", "-5", 2),
        ("-2^2", "-4", 1),
        ("(-2)^2", "4", 1),
        ("2^-2", "1/4", 1),
        ("2^3^2", "512", 2),
        ("2**3", "8", 1),
        ("12/4", "3", 1),
        ("3/4 + 5/6", "19/12", 1),
        ("2/(3/4)", "8/3", 1),
        ("2*3/4", "3/2", 2),
        ("(1/2)/(3/4)/5", "2/15", 2),
        ("0.1+0.2", "3/10", 1),
        (".5*4.", "2", 1),
        ("+-+3", "-3", 0),
        (" 6 \u00d7 7 \u2212 2 \u00f7 2 ", "41", 2),
        ("(-1)^999999999999999999999", "-1", 1),
        ("+".join(["1"] * 900), "900", 899),
    ],
)
def test_calculator(expression: str, value: str, operations: int) -> None:
    result = calculate(expression)
    assert (str(result.value), result.operations) == (value, operations)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("1+", "missing at the end"),
        ("*2", "missing before '\\*'"),
        ("1 2", "operator is missing"),
        ("2(3)", "operator is missing before '\\('"),
        ("()", "missing before '\\)'"),
        ("(1+2", "not closed"),
        ("1+2)", "not opened"),
        ("1/0", "division by zero"),
        ("1/(2-2)", "division by zero"),
        ("0^0", "positive exponent"),
        ("0^-1", "positive exponent"),
        ("2^(1/2)", "integer"),
        ("9**9**9**9", "too large"),
        ("10^(10^10)", "too large"),
        ("7^2048", "too large"),
        ("1e9", "cannot be read"),
        ("x+1", "cannot be read"),
        ("1,000+1", "cannot be read"),
        ("\u0663+1", "cannot be read"),
        ("__import__('os')", "cannot be read"),
        ("\ud800", "cannot be read"),
        ("9" * 100, "digits"),
        ("(" * 300 + "1" + ")" * 300, "nested"),
        ("-" * 300 + "1", "nested"),
        ("1" * 100_000, "longer"),
        ("*".join(["9999999999"] * 150), "too large"),
    ],
)
def test_calculator_refuses(expression: str, complaint: str) -> None:
    with pytest.raises(CalculatorError, match=complaint):
        calculate(expression)


@given(st.text(st.sampled_from("0123456789.+-*/^() e%"), max_size=60) | st.text(max_size=30))
def test_calculator_only_ever_raises_its_own_error(expression: str) -> None:
    try:
        result = calculate(expression)
    except CalculatorError as error:
        assert 0 < len(str(error)) < 200
    else:
        assert isinstance(result.value, Fraction)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), level=st.sampled_from(sorted(LEVELS)), spaced=st.booleans())
def test_trees(seed: int, level: int, spaced: bool) -> None:
    tree, value = build_tree(Draws(np.random.default_rng(seed)), LEVELS[level])
    leaves, operators = reading_order(tree)
    assert len(operators) == LEVELS[level].operations == len(leaves) - 1
    assert value_of(tree) == value == calculate(text_of(tree, spaced)).value
    assert abs(value) not in {Fraction(leaf) for leaf in leaves}
    # One operation per call is enough, and the last call gives the value.
    calls = [calculate(expression) for expression in plan(tree, 1)]
    assert {result.operations for result in calls} == {1}
    assert calls[-1].value == value
    for limit in (2, 5, 100):
        chunks = [calculate(expression) for expression in plan(tree, limit)]
        assert max(result.operations for result in chunks) <= limit
        assert chunks[-1].value == value
        assert len(chunks) <= len(calls)


def test_brackets_only_where_the_tree_needs_them() -> None:
    assert text_of(["-", ["-", "1", "2"], ["-", "3", "4"]], spaced=False) == "1-2-(3-4)"
    assert text_of(["/", "1", ["*", "2", "3"]], spaced=True) == "1 / (2 * 3)"
    assert text_of(["^", ["^", "2", "3"], "2"], spaced=False) == "(2^3)^2"
    assert text_of(["*", "1/2", ["^", "3/4", "2"]], spaced=True) == "(1/2) * (3/4)^2"


def test_worked_episode() -> None:
    env = Arithmetic(style="terse", instructions=False)
    assert env.reset(seed=0, options={"task": task()})[0] == "(7+(3/4))*(0.5-2)"
    said = []
    terminated, reward = False, 0.0
    while not terminated:
        action = env.expert_action()
        observation, reward, terminated, _, _ = env.step(action)
        said.append((action, observation))
    assert said == [
        (call("7+(3/4)"), "31/4"),
        (call("0.5-2"), "-3/2"),
        (call("(31/4)*(-3/2)"), "-93/8"),
        ("<answer>-93/8</answer>", "Correct."),
    ]
    assert reward == 1.0


@pytest.mark.parametrize(
    "answer", ["-93/8", "-11.625", "-1162.5%", r"$-\frac{93}{8}$", "-11 5/8", r"-11\frac{5}{8}", "\u221293/8", "-186/16"]
)
def test_right_forms(answer: str) -> None:
    env = Arithmetic()
    env.reset(seed=0, options={"task": task()})
    assert env.step(f"<answer>{answer}</answer>")[1:3] == (1.0, True)


@pytest.mark.parametrize("answer", ["", "(7+(3/4))*(0.5-2)", "(31/4)*(-3/2)", "93/8", "-11.6", "-93/8 or 3", "-93/8 = -93/8"])
def test_wrong_forms(answer: str) -> None:
    env = Arithmetic()
    env.reset(seed=0, options={"task": task()})
    assert env.step(f"<answer>{answer}</answer>")[1:3] == (0.0, True)


@pytest.mark.parametrize("level", LEVELS)
def test_the_problem_is_not_its_answer(level: int) -> None:
    env = Arithmetic(difficulty=level, style="terse", instructions=False)
    for seed in range(30):
        problem, _ = env.reset(seed=seed)
        assert env.step(f"<answer>{problem}</answer>")[1] == 0.0


def test_one_call_does_so_much() -> None:
    env = Arithmetic(operations_per_call=2)
    assert "at most 2 operations per call" in env.reset(seed=0)[0]
    assert env.step(call("1+2*3"))[0] == "7"
    observation, _, _, _, info = env.step(call("1+2+3+4"))
    assert observation == "Error: at most 2 operations per call, this has 3; go step by step."
    assert info["valid_action"]
    assert env.step(call("1/0"))[0] == "Error: division by zero."


@pytest.mark.parametrize("level", LEVELS)
def test_expert_turns(level: int) -> None:
    env = Arithmetic(difficulty=level)
    most = 0
    for seed in range(20):
        env.reset(seed=seed)
        reward, turns = finish(env)
        most = max(most, turns)
        assert reward == 1.0
    assert most == LEVELS[level].operations + 1
    assert env.turn_limit(env.task) >= most + 3


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), level=st.sampled_from(sorted(LEVELS)), limit=st.integers(1, 4))
def test_expert_recovers(seed: int, level: int, limit: int) -> None:
    env = Arithmetic(difficulty=level, operations_per_call=limit)
    env.reset(seed=seed)
    for wrong in (call("1+1"), "<tool_call>{", call("1/0")):
        env.step(wrong)
    assert finish(env)[0] == 1.0


def test_problems_of_any_length() -> None:
    env = Arithmetic(difficulty=7, operations=200, operations_per_call=4)
    for seed in range(3):
        env.reset(seed=seed)
        assert len(reading_order(env.task.metadata["tree"])[1]) == 200
        assert finish(env)[0] == 1.0
    chain = Arithmetic(difficulty=4, operations=40, nesting=40)
    chain.reset(seed=0)
    assert finish(chain)[0] == 1.0


@pytest.mark.parametrize("level", [1, 2, 5, 7])
def test_novice_is_of_mixed_quality(level: int) -> None:
    env = Arithmetic(difficulty=level, style="terse", instructions=False)
    rng = np.random.default_rng(0)
    won, played = Counter[str](), Counter[str]()
    for seed in range(100):
        env.reset(seed=seed)
        over, terminated, reward = False, False, 0.0
        while not over:
            _, reward, terminated, truncated, info = env.step(novice_action(env, rng))
            assert info["valid_action"]
            over = terminated or truncated
        assert terminated
        played[env.habit] += 1
        won[env.habit] += int(reward)
    assert set(played) == set(HABITS)
    assert won["right"] == played["right"]
    assert won["order"] == 0
    assert won["early"] + won["slip"] <= 0.1 * (played["early"] + played["slip"])


def test_novice_habits_can_be_chosen() -> None:
    env = Arithmetic()
    env.reset(seed=0, options={"task": task()})
    rng = np.random.default_rng(0)
    actions = []
    for _ in range(4):
        actions.append(novice_action(env, rng, {"order": 1.0}))
        env.step(actions[-1])
    assert actions == [call("7+(3/4)"), call("(31/4)*0.5"), call("(31/8)-2"), "<answer>15/8</answer>"]


def test_fork_has_its_own_results() -> None:
    env = Arithmetic()
    env.reset(seed=0, options={"task": task()})
    env.step(call("7 + 3/4"))
    twin = env.fork()
    twin.step(call("0.5-2"))
    assert env.results == (("7+3/4", "31/4"),)
    assert twin.results == (("7+3/4", "31/4"), ("0.5-2", "-3/2"))
    assert twin.task is env.task


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operations_per_call": 0}, "operations_per_call must be at least 1, got 0"),
        ({"operations": 0}, "operations must be from 1 to 200, got 0"),
        ({"operations": 8, "nesting": 3}, "8 operations need a nesting from 4 to 40, got 3"),
        ({"difficulty": 8}, "1 to 7"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Arithmetic(**options)


def test_unknown_style() -> None:
    with pytest.raises(UnknownName, match="plain"):
        Arithmetic(style="plane")  # pyright: ignore[reportArgumentType]


def test_terse_keeps_the_contract() -> None:
    report = check_turn_env(lambda: Arithmetic(style="terse", instructions=False), tasks=14, distinct=300)
    assert max(report.probes.values()) <= 0.02
