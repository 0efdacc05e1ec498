"""The loop: who is trained on, who is left out, and when it gives up."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Problem
from turnwise.errors import InfraError
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.optimizers import AdamW
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import EnvChoice, Recipe
from turnwise.trainers.rewards.invalid_action import InvalidAction
from turnwise.trainers.testing import make_group, make_trajectory
from turnwise.trainers.trainer import PATIENCE, Step, train
from turnwise.types import Group, Task

RECIPE = Recipe(env=(EnvChoice(id="turnwise/Lookup-v0"),), steps=3, tasks_per_step=4, optimizer=AdamW(lr=1e-2))
TASK = Task("a", "", "", 0)


class Prepared:
    """A pool whose groups were rolled out elsewhere."""

    def __init__(self, groups: Callable[[int], list[Group]]) -> None:
        self.groups = groups
        self.asked: list[Sequence[Problem]] = []

    async def collect(self, problems: Sequence[Problem], seed: int) -> list[Group]:
        self.asked.append(problems)
        return self.groups(len(self.asked) - 1)

    async def close(self) -> None:
        pass


def go(recipe: Recipe, groups: Callable[[int], list[Group]], first: int = 0) -> tuple[list[Step], Prepared, Any]:
    model: Any = Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=300, context=64).build([], 0)[0]
    learner = LocalLearner(model, Update(optimizer=recipe.optimizer))
    engine = TorchEngine(model)
    pool = Prepared(groups)
    sampler = recipe.sampler.start([(c.id, c.weight, c.difficulty) for c in recipe.env])

    async def steps() -> list[Step]:
        return [step async for step in train(recipe, pool, learner, engine, sampler, first)]

    done = asyncio.run(steps())
    return done, pool, model


def fresh() -> Any:
    return Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=300, context=64).build([], 0)[0]


def unchanged(model: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh().parameters(), strict=True))


def broken(survivors: int) -> Group:
    """Four trajectories with different rewards, of which so many did not fail."""
    rollouts = [make_trajectory(TASK, [float(i)], failure="" if i < survivors else "env") for i in range(4)]
    return Group(TASK, tuple(rollouts))


@pytest.mark.parametrize("survivors", [0, 1])
def test_groups_with_too_few_survivors_teach_nothing_and_are_counted(survivors: int):
    equal = make_group("b", [1.0], [1.0])
    steps, _, model = go(RECIPE, lambda _: [broken(survivors), equal])
    assert unchanged(model)
    for step in steps:
        assert step.metrics["groups_dropped"] == 1 and step.metrics["groups"] == 2
        assert step.metrics["failures/env"] == 4 - survivors and len(step.groups) == 2, "nothing is hidden"


def test_enough_survivors_teach():
    steps, _, model = go(replace(RECIPE, steps=1), lambda _: [broken(2)])
    assert not unchanged(model) and steps[0].metrics["groups_dropped"] == 0
    assert go(replace(RECIPE, steps=1, min_survivors=3), lambda _: [broken(2)])[0][0].metrics["groups_dropped"] == 1


def test_it_gives_up_after_steps_without_a_usable_group():
    with pytest.raises(InfraError, match=f"no group had 2 survivors in {PATIENCE} steps"):
        go(replace(RECIPE, steps=50), lambda _: [broken(1)])


def test_one_usable_group_starts_the_patience_anew():
    steps, _, _ = go(replace(RECIPE, steps=4 * PATIENCE), lambda i: [broken(4 if i % PATIENCE == PATIENCE - 1 else 0)])
    assert len(steps) == 4 * PATIENCE


def test_problems_follow_from_the_seed_and_the_step_alone():
    groups = lambda _: [make_group("a", [0.0], [1.0])]  # noqa: E731
    _, whole, _ = go(replace(RECIPE, steps=5), groups)
    _, rest, _ = go(replace(RECIPE, steps=5), groups, first=3)
    assert whole.asked[3:] == rest.asked and len(whole.asked) == 5
    problems = [p for asked in whole.asked for p in asked]
    assert len({p.seed for p in problems}) == len(problems) == 20
    _, other, _ = go(replace(RECIPE, steps=5, seed=1), groups)
    assert not {p.seed for asked in other.asked for p in asked} & {p.seed for p in problems}


def test_shapers_come_before_credit_in_their_order():
    invalid = Group(TASK, tuple(make_trajectory(TASK, [0.0], valid=valid) for valid in (True, False)))
    steps, _, model = go(replace(RECIPE, steps=1, rewards=(InvalidAction(penalty=0.5),)), lambda _: [invalid])
    assert not unchanged(model), "the penalty is the only difference there is"
    (group,) = steps[0].groups
    assert [t.reward for t in group.trajectories] == [0.0, -0.5]
    assert steps[0].metrics["reward"] == -0.25


def test_the_sampler_is_told_and_its_state_is_the_callers():
    steps, _, _ = go(RECIPE, lambda _: [make_group("a", [0.0], [1.0])] * 4)
    assert [step.sampler["asked"] for step in steps] == [4, 8, 12]
    assert [step.index for step in steps] == [0, 1, 2]
