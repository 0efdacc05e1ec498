"""The training loop, and nothing else.

    task -> rollouts -> rewards -> advantages -> loss -> update -> engine

It yields a record per step; printing, files and dashboards are the caller's business.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from turnwise.errors import InfraError
from turnwise.seeds import child
from turnwise.trainers.ahead import Admitted, Ahead
from turnwise.trainers.batch import collate
from turnwise.trainers.engines.protocol import PolicyEngine
from turnwise.trainers.learner import Learner
from turnwise.trainers.monitor import advantage_metrics, common_failures, group_metrics, staleness_metrics
from turnwise.trainers.pool import RolloutPool
from turnwise.trainers.recipe import Recipe
from turnwise.trainers.rewards.protocol import Scene, State
from turnwise.trainers.shaping import shape, start
from turnwise.trainers.sync import sync
from turnwise.types import Group

__all__ = ["Step", "train"]

PATIENCE = 5
"""Steps in a row without a single usable group after which a run stops instead of spinning."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did."""

    index: int
    rolled: tuple[Group, ...]
    """As rolled out, failures included."""
    groups: tuple[Group, ...]
    """The same, shaped."""
    metrics: dict[str, float]
    seconds: Mapping[str, float]
    """What parts of it took: they do not replay, so they are no metrics."""
    sampler: Mapping[str, Any]
    """The sampler's state after the step."""
    rewards: Sequence[State]
    """That of each reward shaper."""
    ahead: Ahead
    """What is rolled out for the steps to come; a checkpoint keeps what is `pending` there."""


async def train(
    recipe: Recipe,
    pool: RolloutPool,
    learner: Learner,
    engine: PolicyEngine,
    sampler: Mapping[str, Any],
    first: int = 0,
    scene: Scene | None = None,
    rewards: Sequence[State] | None = None,
    admitted: Sequence[Admitted] = (),
) -> AsyncGenerator[Step, None]:
    """Steps `first` to `recipe.steps`. Every random number follows from the recipe's seed and the step's index.

    `scene` is what reward shapers may look at (the engine alone if None), `rewards` their states (as at the start if None),
    `admitted` what a checkpoint kept of the batches that were rolled out ahead.
    """
    scene = replace(scene or Scene(engine=engine), steps=recipe.steps, temperature=recipe.temperature)
    states = rewards or start(recipe.rewards, scene)
    barren = 0
    async with Ahead(recipe, pool, first, admitted) as ahead:
        for index in range(first, recipe.steps):
            ahead.admit(index, sampler)
            rolled = await ahead.take(index)
            seed = child(child(recipe.seed, "step", index), "rewards")
            shaped = await shape(recipe.rewards, rolled, states, replace(scene, step=index, seed=seed))
            groups, states = shaped.groups, shaped.states
            sampler = recipe.sampler.tell(sampler, groups)
            metrics = group_metrics(groups) | staleness_metrics(groups, learner.version) | shaped.metrics
            usable = [g for g in groups if len(g.survivors) >= recipe.min_survivors]
            metrics["groups_dropped"] = float(len(groups) - len(usable))
            barren, seconds = 0 if usable else barren + 1, dict[str, float]()
            if usable:
                metrics |= await recipe.schedule.carry_out(partial(_learn, recipe, usable, learner))
                synced = await sync(engine, learner, recipe.probe)
                metrics, seconds = metrics | synced.metrics, synced.seconds
            elif barren >= PATIENCE:
                few = f"no group had {recipe.min_survivors} survivors in {PATIENCE} steps"
                raise InfraError("stalled", f"{few}; of late: {common_failures(groups)}.")
            yield Step(index, tuple(rolled), tuple(groups), metrics, seconds, sampler, states, ahead)


def _learn(recipe: Recipe, groups: Sequence[Group], learner: Learner) -> dict[str, float]:
    batch = learner.annotate(collate(groups))
    advantages = recipe.advantage(batch)
    for transform in recipe.transform:
        advantages = transform(batch, advantages)
    targets = getattr(recipe.advantage, "targets", None)
    metrics = advantage_metrics(batch, advantages)
    return metrics | learner.update(batch, advantages, targets(batch) if targets else None)
