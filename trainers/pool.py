"""RolloutPool: problems in, groups of trajectories out; every episode is its own task on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

import numpy as np

from turnwise.agents.agent import Agent
from turnwise.agents.episode import Episode, Limits, Problem
from turnwise.agents.worlds import Worlds, first_error
from turnwise.seeds import child
from turnwise.trainers.rollouts.protocol import Rollout
from turnwise.types import Group, Trajectory

__all__ = ["LocalPool", "RolloutPool"]


class RolloutPool(Protocol):
    """Where rollouts happen: in this process, or on a cluster."""

    async def collect(self, problems: Sequence[Problem], seed: int) -> list[Group]:
        """One group per problem, in that order. Every admitted episode ends as exactly one trajectory, failed ones included."""
        ...

    async def close(self) -> None: ...


class LocalPool:
    """Rollouts on this process's event loop."""

    def __init__(
        self,
        worlds: Worlds,
        agent: Agent,
        rollout: Rollout,
        *,
        limits: Limits,
        concurrency: int = 256,
        done: Callable[[Trajectory], None] = lambda _: None,
    ) -> None:
        """`concurrency` bounds the episodes in flight; `done` is called once per finished trajectory (progress bars)."""
        self.worlds, self.agent, self.rollout, self.limits, self.done = worlds, agent, rollout, limits, done
        self._gate = asyncio.Semaphore(concurrency)

    async def collect(self, problems: Sequence[Problem], seed: int) -> list[Group]:
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._group(p, child(seed, "group", i))) for i, p in enumerate(problems)]
        except ExceptionGroup as group:
            raise first_error(group) from None
        return [task.result() for task in running]

    async def close(self) -> None:
        await self.worlds.close()

    async def _group(self, problem: Problem, seed: int) -> Group:
        grower = _Grower(self, problem, seed)
        try:
            async with asyncio.TaskGroup() as tasks:
                grower.grow(tasks, None)
        finally:
            await grower.close()
        trajectories = tuple(task.result() for task in grower.running)
        known = next((t for t in trajectories if not t.failed), trajectories[0])
        return Group(known.task, trajectories)

    async def play(self, episode: Episode, grower: _Grower, tasks: asyncio.TaskGroup) -> Trajectory:
        """Drive one episode to its end, telling the strategy after every turn."""
        while True:
            before = episode.leaf
            going = await episode.advance()
            if episode.leaf is not None and episode.leaf is not before:
                grower.tell(tasks, episode)
            if not going:
                break
        trajectory = episode.finish()
        self.done(trajectory)
        return trajectory

    @property
    def gate(self) -> asyncio.Semaphore:
        return self._gate


class _Grower:
    """The tree of one task while it grows."""

    def __init__(self, pool: LocalPool, problem: Problem, seed: int) -> None:
        self.pool, self.problem, self.seed = pool, problem, seed
        self.state: Any = pool.rollout.start(np.random.default_rng(child(seed, "strategy")))
        self.running: list[asyncio.Task[Trajectory]] = []
        self.forked: list[Episode] = []
        """Forks whose environments are still open."""

    async def close(self) -> None:
        """Close the environments of forks that never came to an end: a cancelled task may not even have begun."""
        while self.forked:
            await self._close(self.forked[-1])

    def tell(self, tasks: asyncio.TaskGroup, episode: Episode) -> None:
        assert episode.leaf is not None
        self.state = self.pool.rollout.tell(self.state, episode.leaf)
        self.grow(tasks, episode)

    def grow(self, tasks: asyncio.TaskGroup, episode: Episode | None) -> None:
        wishes, self.state = self.pool.rollout.ask(self.state)
        for wish in wishes:
            seed = child(self.seed, "rollout", len(self.running))
            if wish.node is None:
                work = self._fresh(seed, tasks)
            elif episode is not None and wish.node is episode.leaf:
                work = self._forked(episode.fork(seed), tasks)
            else:
                raise ValueError(f"{type(self.pool.rollout).__name__}: a fork can only be asked for at the turn just told.")
            self.running.append(tasks.create_task(work))

    async def _fresh(self, seed: int, tasks: asyncio.TaskGroup) -> Trajectory:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.pool.gate)
            world = self.pool.worlds.episode(self.pool.agent, self.problem, seed=seed, limits=self.pool.limits)
            episode = await stack.enter_async_context(world)
            return await self.pool.play(episode, self, tasks)

    def _forked(self, episode: Episode, tasks: asyncio.TaskGroup) -> Coroutine[Any, Any, Trajectory]:
        self.forked.append(episode)
        return self._twin(episode, tasks)

    async def _twin(self, episode: Episode, tasks: asyncio.TaskGroup) -> Trajectory:
        async with self.pool.gate:
            trajectory = await self.pool.play(episode, self, tasks)
        await self._close(episode)
        return trajectory

    async def _close(self, episode: Episode) -> None:
        self.forked.remove(episode)
        await self.pool.worlds.give_back(self.problem.env_id, episode.env, broken=True)
