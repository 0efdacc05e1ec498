"""VSPO: the value of a task, and which tasks come again."""

from collections import Counter
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

import turnwise  # noqa: F401  (registers the environments)
from turnwise.errors import ConfigError
from turnwise.trainers.samplers.vspo import VSPO
from turnwise.trainers.testing import make_trajectory
from turnwise.types import Group, Task

ENVS = [("turnwise/Lookup-v0", 1.0, (1, 2))]


def group(seed: int, *rewards: float, level: int = 1, failed: int = 0) -> Group:
    task = Task(f"t{seed}", "", "", level)
    rollouts = [make_trajectory(task, [r]) for r in rewards] + [make_trajectory(task, [9.0], failure="env")] * failed
    return Group(task, tuple(replace(t, env_id="turnwise/Lookup-v0", seed=seed) for t in rollouts))


def test_value_oracle():
    """1, 2, 4 of 5 right; none and all are worth nothing."""
    sampler = VSPO()
    groups = [group(i, *[1.0] * right, *[0.0] * (5 - right)) for i, right in enumerate((1, 2, 4, 0, 5))]
    state = sampler.tell(sampler.start(ENVS), groups)
    assert [value for *_, value in state["again"]] == pytest.approx([0.32, 0.293938769, 0.08], abs=1e-6)
    assert state["idle"] == 2 and state["asked"] == 5


def test_as_many_come_again_as_taught_nothing():
    sampler = VSPO()
    dull, good = [group(i, 1.0, 1.0) for i in range(3)], [group(7, 0.0, 1.0, level=2), group(8, 0.0, 0.0, 1.0)]
    state = sampler.tell(sampler.start(ENVS), [*dull, *good])
    problems = sampler.ask(state, 8, np.random.default_rng(0))
    again = [p for p in problems if p.seed in (7, 8)]
    assert len(problems) == 8 and len(again) == 3 and max(Counter(p.seed for p in again).values()) <= 2
    assert {p.options["difficulty"] for p in again if p.seed == 7} <= {2}
    assert len(sampler.ask(state, 2, np.random.default_rng(0))) == 2
    assert [p.seed for p in sampler.ask(state, 8, np.random.default_rng(1))] == [
        p.seed for p in sampler.ask(state, 8, np.random.default_rng(1))
    ]


def test_they_come_in_proportion_to_their_value():
    sampler = VSPO(repeats=1)
    state = sampler.tell(
        sampler.start(ENVS), [group(0, 1.0, 1.0), group(7, 0.0, 0.0, 0.0, 0.0, 1.0), group(8, 0.0, 1.0, 1.0, 1.0, 1.0)]
    )
    drawn = Counter(p.seed for i in range(400) for p in sampler.ask(state, 1, np.random.default_rng(i)))
    assert set(drawn) == {7, 8} and 0.74 < drawn[7] / 400 < 0.86, "0.32 against 0.08"


def test_nothing_to_repeat_is_uniform():
    sampler = VSPO()
    for groups in ([], [group(0, 1.0, 1.0)], [group(1, 0.0, 1.0)], [group(2, 0.0, failed=3)]):
        state = sampler.tell(sampler.start(ENVS), groups)
        problems = sampler.ask(state, 6, np.random.default_rng(0))
        assert len({p.seed for p in problems} - {0, 1, 2}) == 6


def test_a_task_that_comes_again_is_the_same_task():
    env = gymnasium.make("turnwise/Lookup-v0")
    (first,) = VSPO().ask(VSPO().start(ENVS), 1, np.random.default_rng(5))
    env.reset(seed=first.seed, options=dict(first.options))
    task: Task = env.unwrapped.task  # type: ignore[attr-defined]
    state = VSPO().tell(VSPO().start(ENVS), [group(0, 1.0, 1.0), group(first.seed, 0.0, 1.0, level=task.difficulty)])
    again = next(p for p in VSPO().ask(state, 4, np.random.default_rng(0)) if p.seed == first.seed)
    env.reset(seed=again.seed, options=dict(again.options))
    assert env.unwrapped.task == task  # type: ignore[attr-defined]


def test_repeats_are_checked():
    with pytest.raises(ConfigError, match="at least 1"):
        VSPO(repeats=0)
