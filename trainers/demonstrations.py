"""The episodes of a teacher, from which a warm-start learns."""

from __future__ import annotations

from importlib import import_module

import numpy as np
from rich.console import Console
from rich.markup import escape

from turnwise.agents.agent import Agent, ExpertAgent
from turnwise.agents.episode import Problem
from turnwise.agents.worlds import Worlds, play_all
from turnwise.errors import ConfigError, InfraError
from turnwise.seeds import child
from turnwise.trainers.live import limits_of, progress
from turnwise.trainers.monitor import common_failures
from turnwise.trainers.recipe import Recipe
from turnwise.trainers.sft import SFT, Teacher
from turnwise.trainers.tagged import Tagged
from turnwise.types import Group, Trajectory

__all__ = ["demonstrations"]


async def demonstrations(recipe: Recipe, sft: SFT, worlds: Worlds, console: Console) -> list[Trajectory]:
    """As many as `sft` asks for, less those that failed. Raises InfraError if none is left."""
    agent = Tagged(_teacher(sft.teacher)) if sft.tagged else _teacher(sft.teacher)
    rng = np.random.default_rng(child(recipe.seed, "demonstrations"))
    envs = [(choice.id, choice.weight, choice.difficulty) for choice in recipe.env]
    problems = recipe.sampler.ask(recipe.sampler.start(envs), sft.demonstrations, rng)
    seeded: list[tuple[Problem, int]] = [(p, child(recipe.seed, "teacher", i)) for i, p in enumerate(problems)]
    with progress(console) as bar:
        task = bar.add_task("demonstrations", total=len(seeded), note="")
        played = await play_all(worlds, agent, seeded, limits=limits_of(recipe), done=lambda _: bar.advance(task))
    alive = [t for t in played if not t.failed]
    broke = common_failures([Group(played[0].task, tuple(played))])
    if not alive:
        raise InfraError("demonstrations", f"each of {len(played)} episodes of {sft.teacher} failed; {broke}.")
    solved = sum(t.outcome >= 1 for t in alive) / len(alive)
    console.print(f"demonstrations: {len(alive)} episodes of {sft.teacher}, {solved:.0%} of them solve their task")
    if len(alive) < len(played):
        console.print(f"[yellow]{len(played) - len(alive)} more failed: {escape(broke)}[/]")
    return alive


def _teacher(name: str) -> Agent:
    if name == "expert":
        return ExpertAgent()
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
        return found() if isinstance(found, type) else Teacher(found)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"warm_start.teacher: {name!r} cannot be imported ({error}); write package.module:function.") from error
