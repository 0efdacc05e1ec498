"""A recipe in words: what will run, method by method, from the methods' own first sentences."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import Any

from turnwise.trainers.memory import described
from turnwise.trainers.pool import Budget
from turnwise.trainers.recipe import Recipe

__all__ = ["explain"]


def explain(recipe: Recipe) -> str:
    """Plain text, one paragraph a slot, then the memory that it takes."""
    envs = "; ".join(
        f"{c.id} (weight {c.weight:g}, difficulty {', '.join(map(str, c.difficulty)) or 'default'}"
        + (f", {_settings_of(c.kwargs)})" if c.kwargs else ")")
        for c in recipe.env
    )
    episodes = recipe.tasks_per_step * recipe.rollout.size
    lines = [
        f"environment    {envs}",
        f"policy         {_component(recipe.policy)}" + (f"\n{_component(recipe.lora)}" if recipe.lora else ""),
        f"engine         {_component(recipe.engine)}; at most {recipe.max_new_tokens} new tokens a turn, "
        f"temperature {recipe.temperature:g}",
        f"each step      {recipe.tasks_per_step} tasks x {recipe.rollout.size} trajectories = {episodes} episodes, "
        f"then {recipe.epochs * recipe.minibatches} optimiser step(s); {recipe.steps} steps",
        f"tasks          {_component(recipe.sampler)}",
        f"rollouts       {_component(recipe.rollout)}",
        *([f"budget         {_component(recipe.budget)}"] if recipe.budget != Budget() else []),
        *(f"reward         {_component(shaper)}" for shaper in recipe.rewards),
        f"advantage      {_component(recipe.advantage)}",
        *(f"transform      {_component(transform)}" for transform in recipe.transform),
        *([f"critic         {_component(recipe.critic)}"] if recipe.critic else []),
        f"loss           {_component(recipe.loss)}",
        *(f"correction     {_component(correction)}" for correction in recipe.correction),
        f"aggregate      {_component(recipe.aggregate)}",
        f"optimiser      {_component(recipe.optimizer)}",
        f"KL to start    {f'k2, weight {recipe.kl:g}' if recipe.kl else 'none'}; entropy bonus {recipe.entropy:g}",
        f"schedule       {_component(recipe.schedule)}",
        f"failures       a broken world is tried {recipe.retry.attempts} time(s), a hung environment costs "
        f"{recipe.step_deadline_s:g} s; a group with fewer than {recipe.min_survivors} "
        "survivors is left out, and counted",
        f"evaluation     {recipe.evaluate.tasks} held-out tasks at the start, after each stage and at the end; "
        f"{recipe.evaluate.curve_tasks} every {recipe.evaluate.every} steps",
        f"cluster        {_cluster(recipe)}",
        f"seed           {recipe.seed}",
    ]
    if recipe.warm_start is not None:
        warm = recipe.warm_start
        lines.insert(
            2,
            f"warm-start     {warm.demonstrations} episodes of {warm.teacher}, {warm.epochs:g} epoch(s), "
            f"{warm.batch_size} a step\n               {_component(warm.optimizer)}",
        )
    return "\n".join([*lines, "", described(recipe)])


def _cluster(recipe: Recipe) -> str:
    cluster = recipe.cluster
    if not cluster.used:
        return "none: rollouts, engine and learner are in this process (--cluster auto for Ray)"
    where = {"auto": "the one that is there, else a local one", "local": "a local one"}.get(cluster.address, cluster.address)
    engines = f"{cluster.engines} engine(s)" if cluster.engines else "an engine in each worker"
    learners = f"a learner of {cluster.learners} rank(s)" if cluster.learners else "the learner in the driver's process"
    return (
        f"Ray, {where}: {cluster.workers} rollout worker(s), {engines}, {learners}\n               who dies is replaced, "
        f"at most {cluster.restarts} times in a row; a dead learner goes on from the last checkpoint"
    )


def _component(component: Any) -> str:
    """The method's first sentence and its parameters."""
    cls = type(component)
    doc = inspect.getdoc(sys.modules[cls.__module__]) if cls.__module__.rsplit(".", 1)[-1] != "recipe" else None
    owned = doc if doc and cls.__module__.split(".")[-2] not in ("trainers",) else inspect.getdoc(cls)
    sentence = (owned or cls.__name__).strip().split("\n\n")[0].replace("\n", " ")
    values = {f.name: getattr(component, f.name) for f in dataclasses.fields(component)}
    shown = _settings_of(values)
    return f"{cls.__name__}: {sentence}" + (f"\n               [{shown}]" if shown else "")


def _settings_of(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())
