"""Bad numbers: parameters out of their range, rewards that are none. Each is an error with a name, never a silent number."""

import math
from dataclasses import replace
from typing import Any

import pytest

from turnwise.errors import ConfigError, ShapeError
from turnwise.registry import names, resolve
from turnwise.trainers.batch import collate
from turnwise.trainers.bounds import numbers, within
from turnwise.trainers.shaping import add_terms
from turnwise.trainers.testing import make_group
from turnwise.types import Group, Task

SLOTS = ("advantages", "corrections", "losses", "rewards", "transforms")
ONES = ("gamma", "turn_gamma", "lam", "alpha", "keep")
"""Shares and discounts: from 0 to 1."""
NEVER_NEGATIVE = (*ONES, "eps", "clip_low", "clip_high", "dual_clip", "cap", "veto", "k", "k_future", "cap_s", "penalty", "least")


def methods() -> list[tuple[str, type]]:
    found = [
        (f"{slot}.{name}", resolve(f"turnwise.trainers.{slot}", name))
        for slot in SLOTS
        for name in names(f"turnwise.trainers.{slot}")
    ]
    return [(name, cls) for name, cls in found if name != "rewards.profiling"]  # its cap is of a speed-up


def cases(parameters: tuple[str, ...]) -> list[tuple[str, type, str]]:
    return [(name, cls, p) for name, cls in methods() for p in parameters if p in cls.__dataclass_fields__]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(("name", "cls", "parameter"), cases(NEVER_NEGATIVE))
@pytest.mark.parametrize("value", [-0.5, math.nan])
def test_no_method_takes_a_negative_one_or_nan(name: str, cls: Any, parameter: str, value: float):
    with pytest.raises(ConfigError, match="expected"):
        cls(**{parameter: value})


@pytest.mark.parametrize(("name", "cls", "parameter"), cases(ONES))
def test_no_discount_is_above_one(name: str, cls: Any, parameter: str):
    with pytest.raises(ConfigError, match=f"{parameter}: expected .*1.*, got 1.5"):
        cls(**{parameter: 1.5})


def test_the_message_says_where_and_what():
    within("a.b", 0.0)
    within("a.b", 1.0, 0, 1)
    with pytest.raises(ConfigError, match=r"^a\.b: expected at least 0, got -1\.$"):
        within("a.b", -1)
    with pytest.raises(ConfigError, match=r"^a\.b: expected 0 to 1, got nan\.$"):
        within("a.b", math.nan, 0, 1)


def test_nan_is_found_wherever_it_is_in_a_table():
    numbers({"a": [1.0, {"b": math.inf}], "c": "nan"})
    with pytest.raises(ConfigError, match=r"^a\.1\.b: expected a number, got nan\.$"):
        numbers({"a": [1.0, {"b": math.nan}]})


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_no_number_reaches_no_batch(reward: float):
    with pytest.raises(ConfigError, match=rf"collate: the reward of turn 1 of task 'b' is {reward}"):
        collate([make_group("a", [1.0], [0.0]), make_group("b", [0.0, reward])])
    group = make_group("a", [1.0], [0.0])
    with pytest.raises(ConfigError, match=f"reward term 'mine': expected a finite number, got {reward}"):
        add_terms([group], {group.trajectories[0].turns[0]: {"mine": reward}})


def test_empty_groups_are_no_rows_and_nothing_at_all_is_an_error():
    group = make_group("a", [1.0], [0.0])
    empty = Group(Task("b", "", "", 0), ())
    assert len(collate([group, empty]).tokens) == 2
    with pytest.raises(ShapeError, match="collate: no trajectories"):
        collate([empty])


def test_log_probabilities_that_do_not_fit_their_tokens():
    group = make_group("a", [1.0])
    turn = replace(group.trajectories[0].turns[0], logprobs=(-1.0,))
    with pytest.raises(ShapeError, match="logprobs has 1 entries for 2 sampled tokens"):
        collate([replace(group, trajectories=(replace(group.trajectories[0], leaf=turn),))])
