"""The training loop, and nothing else.

    task -> rollouts -> rewards -> advantages -> loss -> update -> engine

It yields a record per step; printing, files and dashboards are the caller's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from turnwise.agents.engine import Engine
from turnwise.errors import InfraError
from turnwise.seeds import child
from turnwise.trainers.batch import collate
from turnwise.trainers.learner import Learner
from turnwise.trainers.monitor import advantage_metrics, group_metrics
from turnwise.trainers.pool import RolloutPool
from turnwise.trainers.recipe import Recipe
from turnwise.trainers.rewards.protocol import Scene, State
from turnwise.trainers.shaping import shape, start
from turnwise.types import Group

__all__ = ["Step", "train"]

PATIENCE = 5
"""Steps in a row without a single usable group after which a run stops instead of spinning."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did."""

    index: int
    groups: tuple[Group, ...]
    """As rolled out and shaped, failures included."""
    metrics: dict[str, float]
    sampler: Mapping[str, Any]
    """The sampler's state after the step."""
    rewards: Sequence[State]
    """That of each reward shaper."""


async def train(
    recipe: Recipe,
    pool: RolloutPool,
    learner: Learner,
    engine: Engine,
    sampler: Mapping[str, Any],
    first: int = 0,
    scene: Scene | None = None,
    rewards: Sequence[State] | None = None,
) -> AsyncIterator[Step]:
    """Steps `first` to `recipe.steps`. Every random number follows from the recipe's seed and the step's index.

    `scene` is what reward shapers may look at (the engine alone if None), `rewards` their states (as at the start if None).
    """
    scene = replace(scene or Scene(engine=engine), steps=recipe.steps, temperature=recipe.temperature)
    states = rewards or start(recipe.rewards, scene)
    barren = 0
    for index in range(first, recipe.steps):
        seed = child(recipe.seed, "step", index)
        problems = recipe.sampler.ask(sampler, recipe.tasks_per_step, np.random.default_rng(child(seed, "tasks")))
        groups = await pool.collect(problems, seed)
        shaped = await shape(recipe.rewards, groups, states, replace(scene, step=index, seed=child(seed, "rewards")))
        groups, states = shaped.groups, shaped.states
        sampler = recipe.sampler.tell(sampler, groups)
        metrics = group_metrics(groups) | shaped.metrics
        usable = [g for g in groups if len(g.survivors) >= recipe.min_survivors]
        metrics["groups_dropped"] = float(len(groups) - len(usable))
        barren = 0 if usable else barren + 1
        if usable:
            metrics |= await _learn(recipe, usable, learner, engine)
        elif barren >= PATIENCE:
            raise InfraError("stalled", f"no group had {recipe.min_survivors} survivors in {PATIENCE} steps; see the failures.")
        yield Step(index, tuple(groups), metrics, sampler, states)


async def _learn(recipe: Recipe, groups: Sequence[Group], learner: Learner, engine: Engine) -> dict[str, float]:
    batch = learner.annotate(collate(groups))
    advantages = recipe.advantage(batch)
    for transform in recipe.transform:
        advantages = transform(batch, advantages)
    targets = getattr(recipe.advantage, "targets", None)
    metrics = advantage_metrics(batch, advantages)
    metrics |= learner.update(batch, advantages, targets(batch) if targets else None)
    await engine.update_weights(learner.weights(), learner.version)
    return metrics
