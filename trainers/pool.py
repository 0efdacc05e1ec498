"""RolloutPool: problems in, groups of trajectories out; every episode is its own task on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from turnwise.agents.agent import Agent, ExpertAgent
from turnwise.agents.episode import Episode, Limits, Problem
from turnwise.agents.worlds import Worlds, first_error
from turnwise.seeds import child
from turnwise.trainers.bounds import within
from turnwise.trainers.concurrency import Tuner
from turnwise.trainers.gate import Gate
from turnwise.trainers.recall import Replayed
from turnwise.trainers.rollouts.protocol import Ended, Event, Grow, Paused, Played, Recalling, Rollout, Sampled
from turnwise.trainers.watch import Watch
from turnwise.types import Failure, Group, Spent, Task, Trajectory, Turn

__all__ = ["Budget", "LocalPool", "RolloutPool", "task_of"]


class RolloutPool(Protocol):
    """Where rollouts happen: in this process, or on a cluster."""

    async def collect(self, problems: Sequence[Problem], seed: int) -> list[Group]:
        """One group per problem, in that order. Every admitted episode ends as exactly one trajectory, failed ones included."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Most that one group may cost; 0 is no bound. Who would go on beyond it ends with Stop.BUDGET."""

    tokens: int = 0
    """Sampled by the policy."""
    tool_calls: int = 0

    def __post_init__(self) -> None:
        within("budget.tokens", self.tokens)
        within("budget.tool_calls", self.tool_calls)

    def allows(self, spent: Spent) -> bool:
        return (not self.tokens or spent.tokens < self.tokens) and (not self.tool_calls or spent.tool_calls < self.tool_calls)


def task_of(trajectories: Sequence[Trajectory]) -> Task:
    """The task of a group: one that failed at its reset may not know it."""
    return next((t for t in trajectories if not t.failed), trajectories[0]).task


class LocalPool:
    """Rollouts on this process's event loop."""

    def __init__(
        self,
        worlds: Worlds,
        agent: Agent,
        rollout: Rollout,
        *,
        limits: Limits,
        budget: Budget | None = None,
        concurrency: int | Tuner | Gate = 256,
        done: Callable[[Trajectory], None] = lambda _: None,
        retried: Callable[[Problem, Failure], None] = lambda _problem, _failure: None,
        watch: Watch | None = None,
    ) -> None:
        """`concurrency` bounds the episodes in flight, or finds the bound, or is the gate of several pools; `done` is called once
        for each episode that was played, at its end, `retried` for each failure that was not the end."""
        self.worlds, self.agent, self.rollout, self.limits, self.done = worlds, agent, rollout, limits, done
        self.budget = budget or Budget()
        self.retried, self.watch = retried, watch or Watch()
        self.tuner = concurrency if isinstance(concurrency, Tuner) else None
        size = concurrency.size if isinstance(concurrency, Tuner) else concurrency
        self.gate = size if isinstance(size, Gate) else Gate(size)

    async def collect(self, problems: Sequence[Problem], seed: int) -> list[Group]:
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self.group(p, child(seed, "group", i))) for i, p in enumerate(problems)]
                guard = tasks.create_task(self.watch.guard())
                await asyncio.wait(running)
                guard.cancel()
        except ExceptionGroup as group:
            raise first_error(group) from None
        return [task.result() for task in running]

    def ended(self, trajectory: Trajectory) -> None:
        """The one end of an episode."""
        self.done(trajectory)
        if self.tuner is not None:
            self.gate.size = self.tuner(self.gate.inside)

    async def close(self) -> None:
        await self.worlds.close()

    async def group(self, problem: Problem, seed: int) -> Group:
        """All trajectories of one problem; nobody watches over it (`collect` does)."""
        grower = _Grower(self, problem, seed)
        try:
            async with asyncio.TaskGroup() as tasks:
                await grower.grow(tasks, None, None)
        except BaseException:
            await grower.close(broken=True)
            raise
        await grower.close(broken=False)
        trajectories = tuple(t for task in grower.tasks if (t := task.result()) is not None)
        return Group(grower.task(trajectories), trajectories, grower.spent)


class _Grower:
    """The tree of one task while it grows."""

    def __init__(self, pool: LocalPool, problem: Problem, seed: int) -> None:
        self.pool, self.problem, self.seed = pool, problem, seed
        self.state = self._begun(np.random.default_rng(child(seed, "strategy")))
        self.running: dict[int, asyncio.Task[Trajectory | None]] = {}
        """By the number of its wish."""
        self.wishes = 0
        self.spent = Spent()
        self._open: dict[Episode, bool] = {}
        """Episodes whose environments are open, and whether those are copies (the others are borrowed, and used again)."""
        self._paused: dict[Turn | None, Episode] = {}

    def _begun(self, rng: np.random.Generator) -> Any:
        """The strategy's state before anything is rolled out."""
        rollout, past = self.pool.rollout, self.problem.past
        return rollout.recall(rng, past) if past and isinstance(rollout, Recalling) else rollout.start(rng)

    def task(self, trajectories: Sequence[Trajectory]) -> Task:
        return task_of(trajectories) if trajectories else next(iter(self._paused.values())).task

    async def close(self, *, broken: bool) -> None:
        """Close what is open: paused episodes; after a cancellation, forks whose task may not even have begun."""
        await asyncio.gather(*(self._close(episode, broken=broken) for episode in list(self._open)))

    @property
    def tasks(self) -> list[asyncio.Task[Trajectory | None]]:
        """Of the wishes, in their order."""
        return [self.running[number] for number in sorted(self.running)]

    async def grow(self, tasks: asyncio.TaskGroup, event: Event | None, episode: Episode | None) -> None:
        """Tell the strategy what happened (nothing, at the beginning) in an episode, and begin what it wishes then.

        The episode waits here until its forks have left.
        """
        if event is not None:
            self.state = self.pool.rollout.tell(self.state, event)
        wishes, self.state = self.pool.rollout.ask(self.state)
        numbered = list(enumerate(wishes, self.wishes))
        self.wishes += len(numbered)
        for number, wish in numbered:
            seed = child(self.seed, "rollout", number)
            forked = await self._forked(wish, seed, episode if isinstance(event, Sampled | Played) else None)
            self.running[number] = tasks.create_task(self._run(forked, wish, seed, tasks))

    async def _forked(self, wish: Grow, seed: int, here: Episode | None) -> Episode | None:
        """A fork at a wish's node; None for a fresh start at the task."""
        source = self._paused.get(wish.node)
        if source is None and wish.node is None:
            return None
        if source is None and here is not None and here.leaf is wish.node:
            source = here
        if source is None:
            name = type(self.pool.rollout).__name__
            raise ValueError(f"{name}: a fork can only be asked for at the turn just told, or where a trajectory paused.")
        return await self._fork(source, seed)

    async def _fork(self, source: Episode, seed: int) -> Episode:
        with self.pool.watch.waiting("the fork of an environment", source):
            episode = await source.fork(seed)
        self._open[episode] = True
        return episode

    async def _fresh(self, seed: int) -> Episode:
        with self.pool.watch.waiting("the constructor of an environment", self.problem):
            episode = await self.pool.worlds.prepare(self.pool.agent, self.problem, seed=seed, limits=self.pool.limits)
        self._open[episode] = False
        with self.pool.watch.waiting("the reset of an environment", episode):
            await episode.begin()
        return episode

    async def _run(self, forked: Episode | None, wish: Grow, seed: int, tasks: asyncio.TaskGroup) -> Trajectory | None:
        """Play one wish to its end, or to its pause (None), telling the strategy on the way."""
        if wish.past is not None and not wish.turns:
            await self.grow(tasks, Ended(wish.past), None)
            return wish.past
        async with self.pool.gate:
            episode = forked or await self._fresh(seed)
            if wish.expert or wish.past is not None:
                guide = Replayed(wish.past) if wish.past else ExpertAgent(getattr(self.pool.agent, "template", None))
                episode = await self._guide(episode, wish.turns, guide)
            else:
                await self._play(episode, wish.turns, tasks)
            trajectory = None if episode.stop is None else episode.finish()
            if trajectory is not None:
                await self._close(episode, broken=False)
        if trajectory is None:
            self._paused[episode.leaf] = episode
            await self.grow(tasks, Paused(episode.leaf), episode)
        else:
            self.pool.ended(trajectory)
            await self.grow(tasks, Ended(trajectory), episode)
        return trajectory

    async def _play(self, episode: Episode, turns: int, tasks: asyncio.TaskGroup) -> None:
        """Turn by turn to the end, or to the pause after `turns` (0: never)."""
        going, played = True, 0
        while going and (played < turns or not turns):
            if not self.pool.budget.allows(self.spent):
                episode.give_up()
            with self.pool.watch.waiting("the engine's reply", episode):
                reply = await episode.sample()
            if reply is None:
                return
            self.spent += Spent(tokens=len(reply.action_ids))
            await self.grow(tasks, Sampled(episode.leaf, reply), episode)
            before = episode.leaf
            with self.pool.watch.waiting("the step of an environment", episode):
                going = await episode.play(reply)
            if episode.leaf is not None and episode.leaf is not before:
                self.spent += Spent(tool_calls=episode.leaf.tool_calls)
                await self.grow(tasks, Played(episode.leaf, over=not going), episode)
            played += 1

    async def _guide(self, episode: Episode, turns: int, guide: Agent) -> Episode:
        """Somebody who went before plays, at most `turns`, and stops one turn before the episode would end."""
        for _ in range(turns):
            with self.pool.watch.waiting("the expert of an environment", episode):
                reply = await episode.sample(guide)
            if reply is None:
                break
            before = await self._fork(episode, child(episode.seed, "guide"))
            with self.pool.watch.waiting("the step of an environment", episode):
                going = await episode.play(reply, given=True)
            self.spent += Spent(tool_calls=episode.leaf.tool_calls if episode.leaf else 0)
            if not going and episode.failure is None:
                await self._close(episode, broken=False)
                return before
            await self._close(before, broken=False)
        return episode

    async def _close(self, episode: Episode, *, broken: bool) -> None:
        copied = self._open.pop(episode)
        for failure in episode.retried:
            self.pool.retried(self.problem, failure)
        if episode.stop is None:
            self.pool.agent.release(episode.session)
        gone = broken or copied or episode.failure is not None
        with self.pool.watch.waiting("the close of an environment", episode):
            await self.pool.worlds.give_back(self.problem.env_id, episode.env, broken=gone)
