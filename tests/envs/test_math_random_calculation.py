"""RandomCalculation: steps that are checked, progress, any length."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.envs import Task
from turnwise.envs.math.arithmetic_problem import text_of, value_of
from turnwise.envs.math.calculator import calculate
from turnwise.envs.math.random_calculation import LEVELS, RandomCalculation
from turnwise.envs.testing import check_turn_env
from turnwise.errors import ConfigError

TREE = ["+", ["*", ["-", "3", "8"], ["^", "4", "2"]], ["*", "6", "1/2"]]
TASK = Task(
    "by-hand", f"Calculate {text_of(TREE, spaced=True)} exactly.", str(value_of(TREE)), 3, {"tree": TREE, "operations": 5}
)


def started(**options: Any) -> RandomCalculation:
    env = RandomCalculation(instructions=False, **options)
    env.reset(seed=0, options={"task": TASK})
    return env


def test_worked_episode() -> None:
    env = RandomCalculation(progress=0.5)
    first, _ = env.reset(seed=0, options={"task": TASK})
    assert first.startswith("Calculate (3 - 8) * 4^2 + 6 * (1/2) exactly.\n\nWork in steps: reply <step>")
    said, total, over = [], 0.0, False
    while not over:
        action = env.expert_action()
        observation, reward, over, _, _ = env.step(action)
        said.append((action, observation))
        total += reward
    assert said == [
        ("<step>(-5) * 4^2 + 6 * (1/2)</step>", "Right. 4 operations left."),
        ("<step>(-5) * 16 + 6 * (1/2)</step>", "Right. 3 operations left."),
        ("<step>(-80) + 6 * (1/2)</step>", "Right. 2 operations left."),
        ("<step>(-80) + 3</step>", "Right. 1 operation left."),
        ("<answer>-77</answer>", "Correct."),
    ]
    assert total == pytest.approx(4 * 0.5 / 5 + 1.0)


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("<step>(-5) * 16 + 3</step>", "Right. 2 operations left."),
        ("-80 + 3", "Right. 1 operation left."),
        ("First 4^2 is 16.\n<step>-5*16+6*(1/2)</step>", "Right. 3 operations left."),
        ("<step>wrong</step><step>-80+3</step>", "Right. 1 operation left."),
        ("<step>(3 - 8) * 4^2 + 6 * (1/2)</step>", "That is no step: 5 operations, and there were 5 left."),
        ("<step>-80 + 4</step>", "Wrong: that does not have the same value. Go on from the last right expression."),
        ("-77", "A single number is an answer: reply <answer>...</answer>."),
        ("<step></step>", "That is neither an answer nor a step, because the expression is empty."),
        ("I do not know", "That is neither an answer nor a step, because 'I do not k' cannot be read; use numbers, "),
    ],
)
def test_steps(step: str, answer: str) -> None:
    env = started()
    observation, reward, terminated, truncated, _ = env.step(step)
    assert observation.startswith(answer)
    assert (reward, terminated, truncated) == (0.0, False, False)


@pytest.mark.parametrize(("answer", "reward"), [("-77", 1.0), ("-154/2", 1.0), ("77", 0.0), ("-80+3", 0.0), ("", 0.0)])
def test_answers(answer: str, reward: float) -> None:
    assert started().step(f"<answer>{answer}</answer>")[1:3] == (reward, True)


def test_progress_is_earned_once() -> None:
    env = started(progress=1.0)
    rewards = [env.step(step)[1] for step in ("-80+6*(1/2)", "-80+6*(1/2)", "-80 + 9", "-80+3", "-80+3")]
    assert rewards == pytest.approx([0.6, 0.0, 0.0, 0.2, 0.0])


def test_without_steps() -> None:
    env = RandomCalculation(checked=False)
    assert "step" not in env.reset(seed=0, options={"task": TASK})[0]
    assert not env.step("-80+3")[4]["valid_action"]
    assert env.step(env.expert_action())[1] == 1.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), level=st.sampled_from(sorted(LEVELS)))
def test_the_way_keeps_the_value(seed: int, level: int) -> None:
    env = RandomCalculation(difficulty=level)
    env.reset(seed=seed)
    turns = 0
    while "<step>" in (action := env.expert_action()):
        assert calculate(action[6:-7]).value == Fraction(env.task.answer)
        assert env.step(action)[0].startswith("Right.")
        turns += 1
    assert turns == LEVELS[level].operations - 1


@pytest.mark.parametrize("operations", [1, 50, 500])
def test_any_length(operations: int) -> None:
    env = RandomCalculation(difficulty=8, operations=operations)
    env.reset(seed=1)
    for _ in range(3):
        observation, *_, truncated, _ = env.step(env.expert_action())
        assert not truncated
        if observation == "Correct.":
            break
        assert observation.startswith("Right.")


@pytest.mark.parametrize("options", [{"operations": 0}, {"operations": 501}, {"progress": 1.5}, {"progress": -0.1}])
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be from"):
        RandomCalculation(**options)


def test_variants_keep_the_contract() -> None:
    for options in ({"progress": 0.5}, {"checked": False}):
        check_turn_env(lambda options=options: RandomCalculation(**options), tasks=8, distinct=160)
