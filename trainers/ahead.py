"""The batches that are rolled out ahead of the one that is learned from.

Invariants: every admitted batch is taken exactly once, in the order of steps; a batch's problems and seeds follow from the
recipe's seed, its step and the sampler's state when it was admitted, and from nothing that a clock decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from turnwise.agents.episode import Problem
from turnwise.seeds import child
from turnwise.trainers.admission import Admission
from turnwise.trainers.pool import RolloutPool
from turnwise.trainers.recipe import Recipe
from turnwise.types import Group

__all__ = ["Admitted", "Ahead"]


@dataclass(frozen=True, slots=True, eq=False)
class Admitted:
    """A batch that was begun and is not learned from yet; a checkpoint keeps it."""

    step: int
    """That it is for."""
    version: int
    """Steps that were done when it was begun."""
    problems: tuple[Problem, ...]
    groups: tuple[Group, ...] | None = None
    """None while it is being rolled out."""


class Ahead:
    """Use it as a context manager: what still runs at the end is cancelled, its environments are closed."""

    def __init__(self, recipe: Recipe, pool: RolloutPool, first: int = 0, admitted: Sequence[Admitted] = ()) -> None:
        """`first` is the next step; `admitted` are the batches of a checkpoint: whole ones are there, the others are begun
        again, from the same tasks and seeds."""
        self._recipe, self._pool = recipe, pool
        self._batches: dict[int, Admitted] = {}
        self._running: dict[int, asyncio.Task[list[Group]]] = {}
        size = recipe.tasks_per_step
        whole = sum(batch.groups is not None for batch in admitted)
        self.admission = Admission(eta=recipe.schedule.eta, batch=size, version=first, accepted=size * (first + whole))
        for batch in admitted:
            self._batches[batch.step] = batch
            if batch.groups is None:
                self._begin(batch)

    def admit(self, step: int, sampler: Mapping[str, Any]) -> None:
        """Begin what staleness allows before `step` is learned, with tasks that the sampler chooses now."""
        recipe = self._recipe
        ahead = max(self._batches, default=step - 1) + 1
        while self.admission.room >= recipe.tasks_per_step and ahead < recipe.steps:
            rng = np.random.default_rng(child(child(recipe.seed, "step", ahead), "tasks"))
            problems = recipe.sampler.ask(sampler, recipe.tasks_per_step, rng)
            batch = self._batches[ahead] = Admitted(ahead, step, tuple(problems))
            self._begin(batch)
            ahead += 1

    async def take(self, step: int) -> list[Group]:
        """The groups of that step, once they are whole. Raises whatever broke a batch in flight, this or a later one."""
        while step in self._running:
            await asyncio.wait(self._running.values(), return_when=asyncio.FIRST_COMPLETED)
            self._settle()
        groups = self._batches.pop(step).groups
        assert groups is not None
        self.admission = self.admission.learned()
        return list(groups)

    async def pending(self) -> list[Admitted]:
        """What a checkpoint must keep, in order; if the schedule drains, after all of it has come back."""
        while self._recipe.schedule.drain and self._running:
            await asyncio.wait(self._running.values(), return_when=asyncio.FIRST_COMPLETED)
            self._settle()
        self._settle()
        return list(self._batches.values())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _begin(self, batch: Admitted) -> None:
        self.admission = self.admission.begun(len(batch.problems))
        seed = child(self._recipe.seed, "step", batch.step)
        self._running[batch.step] = asyncio.create_task(self._pool.collect(batch.problems, seed), name=f"step {batch.step}")

    def _settle(self) -> None:
        """Keep what came back, in the order of steps."""
        for step in sorted(step for step, task in self._running.items() if task.done()):
            batch = self._batches[step]
            self._batches[step] = replace(batch, groups=tuple(self._running[step].result()))
            del self._running[step]
            self.admission = self.admission.came_back(len(batch.problems))
