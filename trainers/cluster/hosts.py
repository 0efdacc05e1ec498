"""What lives in a Ray actor: an engine, or environments that are played with one. Plain classes; `fleet` makes them actors.

All methods are coroutines: Ray then runs them side by side on one event loop, as everything in this house expects.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Capabilities, Completion, Load, Sampling
from turnwise.agents.worlds import first_error
from turnwise.own_folder import OwnFolder
from turnwise.trainers.cluster.parcels import Done, Job, Packed, Said, filled, flat, grown, unpacked
from turnwise.trainers.cluster.remote import RemoteEngine
from turnwise.trainers.concurrency import AIMD, Tuner
from turnwise.trainers.engines.protocol import PolicyEngine, scored_by_each
from turnwise.trainers.engines.torch import Torch
from turnwise.trainers.gate import Gate
from turnwise.trainers.live import limits_of, sampling_of, worlds_of
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.recipe import Recipe
from turnwise.trainers.watch import Watch
from turnwise.types import Failure, Spent, Trajectory

__all__ = ["EngineHost", "WorkerHost"]

_TICK_S = 5.0
"""How often a worker says that it lives."""


class EngineHost:
    """The recipe's engine in a process of its own, with weights of its own."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._engine: PolicyEngine | None = None
        self._folder: OwnFolder | None = None
        if recipe.threads:
            torch.set_num_threads(recipe.threads)

    @property
    def engine(self) -> PolicyEngine:
        assert self._engine is not None, "build comes first"
        return self._engine

    async def pid(self) -> int:
        return os.getpid()

    async def endure(self) -> None:
        """Never returns: who waits for it learns of this process's death."""
        await asyncio.Event().wait()

    async def build(self, model: Any, weights: Packed, concurrency: int) -> Capabilities:
        """`model` is `emptied`; `weights` are its first."""
        whole = filled(model, unpacked(weights))
        if torch.cuda.is_available() and isinstance(self.recipe.engine, Torch):
            whole = whole.to("cuda")
        self._folder = OwnFolder("turnwise-engine-")
        self._engine = await self.recipe.engine.build(
            cast(PreTrainedModel, whole), self._folder.path, concurrency=concurrency, overlaps=False
        )
        return self.engine.capabilities

    async def take(self, weights: Packed, version: int) -> float:
        """New weights; the seconds for which no token was sampled."""
        await self.engine.update_weights(unpacked(weights), version)
        return self.engine.sync_cost[1]

    async def differing(self, weights: Packed) -> list[str]:
        return await self.engine.differing(unpacked(weights))

    async def generate(self, ids: Sequence[int], sampling: Sampling, session: str | None) -> tuple[Completion, Load]:
        return await self.engine.generate(ids, sampling, session), self.engine.load

    async def score(self, ids: Sequence[int], targets: Sequence[int]) -> list[float]:
        return await self.engine.score(ids, targets)

    async def score_each(self, ids: Sequence[int], targets: Sequence[int]) -> list[list[float]]:
        return await scored_by_each(self.engine, ids, targets)

    async def release(self, session: str) -> None:
        self.engine.release(session)

    async def fork(self, session: str, twin: str) -> None:
        self.engine.fork(session, twin)

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.close()
        if self._folder is not None:
            self._folder.remove()


class WorkerHost(EngineHost):
    """Environments and their tool servers, and the agent that plays in them: on engines elsewhere, or on one of its own."""

    async def hire(self, tokenizer: PreTrainedTokenizerBase, engine: RemoteEngine | None, workers: int) -> None:
        """`engine` None is the one that was built here; `workers` share the recipe's concurrency."""
        recipe = self.recipe
        self._remote = engine
        template = ChatTemplate(cast(Any, tokenizer))
        self.agent = ModelAgent(engine or self.engine, template, sampling_of(recipe), recipe.max_context)
        self.worlds = worlds_of(recipe)
        most = math.ceil(recipe.concurrency / workers)
        self.tuner = Tuner(AIMD(most=most, least=min(8, most)), self._load) if recipe.schedule.tune else None
        self.gate = Gate(self.tuner.size if self.tuner else most)
        self.singles = Gate(most)
        self.tickets: dict[int, asyncio.Task[None]] = {}

    def _load(self) -> Load:
        return self._remote.load if self._remote is not None else self.engine.load

    async def seat(self, index: int, handle: Any) -> None:
        """The engine `index` is another one now; None while there is none."""
        if self._remote is not None:
            self._remote.seat(index, handle)

    async def play(self, ticket: int, jobs: Sequence[Job]) -> AsyncGenerator[Done | Said]:
        """Begin all jobs at once; what came of each as soon as it is done. Raises what broke the whole."""
        out: asyncio.Queue[Done | Said | None] = asyncio.Queue()
        playing = self.tickets[ticket] = asyncio.create_task(self._all(jobs, out))
        try:
            while (message := await out.get()) is not None:
                yield message
            await playing
        finally:
            playing.cancel()
            del self.tickets[ticket]

    async def stop(self, ticket: int) -> None:
        """Nobody waits for these jobs any more."""
        if ticket in self.tickets:
            self.tickets[ticket].cancel()

    async def close(self) -> None:
        for playing in self.tickets.values():
            playing.cancel()
        await self.worlds.close()
        await super().close()

    async def _all(self, jobs: Sequence[Job], out: asyncio.Queue[Done | Said | None]) -> None:
        watch = Watch(stall_s=self.recipe.stall_s, say=lambda text: out.put_nowait(Said(text)))
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._one(job, watch, out)) for job in jobs]
                beside = [tasks.create_task(watch.guard()), tasks.create_task(_tick(out))]
                await asyncio.wait(running)
                for task in beside:
                    task.cancel()
        except ExceptionGroup as group:
            raise first_error(group) from None
        finally:
            out.put_nowait(None)

    async def _one(self, job: Job, watch: Watch, out: asyncio.Queue[Done | Said | None]) -> None:
        problem = replace(job.problem, past=grown(job.past))
        ended: list[Trajectory] = []
        retried: list[Failure] = []
        if job.single:
            async with self.singles:
                rows = (await self.worlds.play(self.agent, problem, seed=job.seed, limits=limits_of(self.recipe)),)
            task, spent = rows[0].task, Spent()
        else:
            pool = LocalPool(
                *(self.worlds, self.agent, self.recipe.rollout),
                limits=limits_of(self.recipe),
                budget=self.recipe.budget,
                concurrency=self.gate,
                done=lambda trajectory: self._ended(trajectory, ended),
                retried=lambda _, failure: retried.append(failure),
                watch=watch,
            )
            group = await pool.group(problem, job.seed)
            rows, task, spent = group.trajectories, group.task, group.spent
        places = {id(trajectory): place for place, trajectory in enumerate(rows)}
        order = tuple(places[id(t)] for t in ended) if not job.single else (0,)
        out.put_nowait(Done(job.key, task, flat(rows), spent, order, tuple(retried)))

    def _ended(self, trajectory: Trajectory, ended: list[Trajectory]) -> None:
        ended.append(trajectory)
        if self.tuner is not None:
            self.gate.size = self.tuner(self.gate.inside)


async def _tick(out: asyncio.Queue[Done | Said | None]) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        out.put_nowait(Said())
