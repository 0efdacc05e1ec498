"""The RolloutPool of a cluster: groups are played by Ray actors, each with environments and tool servers of its own.

Invariants: a group has the seed that `LocalPool` would give it, whoever plays it; nothing is told of a group before all of it is
there, so that one whose worker died, and which is played again elsewhere, is counted once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from turnwise.agents.episode import Problem
from turnwise.agents.worlds import first_error
from turnwise.seeds import child
from turnwise.trainers.cluster.crew import Crew, cause, death
from turnwise.trainers.cluster.parcels import Done, Job, Said, flat, grown
from turnwise.types import Failure, Family, Group, Spent, Stop, Task, Trajectory

__all__ = ["RayPool"]


class RayPool:
    """See `turnwise.trainers.pool.RolloutPool`."""

    def __init__(
        self,
        workers: Crew,
        others: Sequence[Crew] = (),
        *,
        size: int,
        tries: int = 6,
        silence_s: float = 300.0,
        done: Callable[[Trajectory], None] = lambda _: None,
        retried: Callable[[Problem, Failure], None] = lambda _problem, _failure: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """
        Args:
            workers: actors of `hosts.WorkerHost`.
            others: crews without which there is nothing to be played (the engines).
            size: trajectories of a group, for one that nobody could play.
            tries, silence_s: see `settings.Cluster`.
            done, retried: as those of `LocalPool`, group by group.
            say: what a worker has to say to people.
        """
        self.workers, self.others, self.size = workers, tuple(others), size
        self.tries, self.silence_s = tries, silence_s
        self.done, self.retried, self.say = done, retried, say
        self._open: Counter[int] = Counter()
        """Jobs under way, by seat."""
        self._tickets = itertools.count()

    async def collect(self, problems: Sequence[Problem], seed: int) -> list[Group]:
        jobs = [_job(i, problem, child(seed, "group", i)) for i, problem in enumerate(problems)]
        groups: dict[int, Group] = {}

        def came(done: Done) -> None:
            trajectories = grown(done.rows)
            groups[done.key] = Group(done.task, trajectories, done.spent)
            for place in done.ended:
                self.done(trajectories[place])
            for failure in done.retried:
                self.retried(problems[done.key], failure)

        await self._play(jobs, came)
        return [groups[i] for i in range(len(jobs))]

    async def play_all(
        self, starts: Sequence[tuple[Problem, int]], done: Callable[[Trajectory], None] = lambda _: None
    ) -> list[Trajectory]:
        """Single episodes of the policy from (problem, seed), in that order: for evaluation."""
        jobs = [_job(i, problem, seed, single=True) for i, (problem, seed) in enumerate(starts)]
        played: dict[int, Trajectory] = {}

        def came(one: Done) -> None:
            played[one.key] = grown(one.rows)[0]
            done(played[one.key])

        await self._play(jobs, came)
        return [played[i] for i in range(len(jobs))]

    async def close(self) -> None:
        """The actors end with who owns them."""

    async def _play(self, jobs: Sequence[Job], came: Callable[[Done], None]) -> None:
        lost: Counter[int] = Counter()
        left = {job.key: job for job in jobs}

        def is_done(done: Done) -> None:
            del left[done.key]
            came(done)

        async def share_out(some: Sequence[Job]) -> None:
            shares = self._shares(some, await self.workers.living())
            async with asyncio.TaskGroup() as tasks:
                for seat, share in shares.items():
                    tasks.create_task(to_its_end(seat, share))

        async def to_its_end(seat: int, share: Sequence[Job]) -> None:
            """Play these; those whose worker died are shared out again."""
            handle = self.workers.seats[seat]
            if handle is None:  # it died a moment ago
                return await share_out(share)
            if not await self._played_by(seat, handle, share, is_done):
                again = [job for job in share if job.key in left]
                self.say(f"{len(again)} of {len(share)} that worker {seat} had are played again elsewhere")
                lost.update(job.key for job in again)
                for job in again:
                    if lost[job.key] >= self.tries:
                        is_done(self._given_up(job, lost[job.key]))
                await share_out([job for job in again if job.key in left])

        try:
            async with asyncio.TaskGroup() as tasks:
                guards = [tasks.create_task(crew.fails()) for crew in (self.workers, *self.others)]
                await share_out(jobs)
                for guard in guards:
                    guard.cancel()
        except ExceptionGroup as group:
            raise first_error(group) from None

    def _shares(self, jobs: Sequence[Job], living: Sequence[int]) -> dict[int, list[Job]]:
        """Each job to the worker that has least to do."""
        shares: dict[int, list[Job]] = {}
        for job in jobs:
            seat = min(living, key=lambda seat: (self._open[seat] + len(shares.get(seat, ())), seat))
            shares.setdefault(seat, []).append(job)
        return shares

    async def _played_by(self, seat: int, handle: Any, share: Sequence[Job], came: Callable[[Done], None]) -> bool:
        """Whether the worker of that seat lived to the end of its share."""
        from ray.exceptions import RayError, RayTaskError  # noqa: PLC0415  (optional)

        left = len(share)
        self._open[seat] += left
        try:
            async with aclosing(self._messages(handle, share)) as messages:
                async for message in messages:
                    if isinstance(message, Done):
                        self._open[seat] -= 1
                        left -= 1
                        self.workers.finished(seat)
                        came(message)
                    elif message.text:
                        self.say(f"worker {seat}: {message.text}")
        except RayTaskError as error:
            raise cause(error) from None
        except RayError as error:
            self.workers.dead(seat, handle, death(error))
        except TimeoutError:
            self.workers.dead(seat, handle, f"it said nothing for {self.silence_s:g} s")
        finally:
            self._open[seat] -= left
        return not left

    async def _messages(self, handle: Any, share: Sequence[Job]) -> AsyncGenerator[Done | Said]:
        ticket = next(self._tickets)
        stream = handle.play.options(num_returns="streaming").remote(ticket, tuple(share))
        over = False
        try:
            while True:
                try:
                    async with asyncio.timeout(self.silence_s):
                        message = cast("Done | Said", await (await anext(stream)))
                except StopAsyncIteration:
                    over = True
                    return
                yield message
        finally:
            if not over:
                handle.stop.remote(ticket)

    def _given_up(self, job: Job, times: int) -> Done:
        """A group, or an episode, over which worker after worker died."""
        problem = job.problem
        task = Task(f"{problem.env_id}:{problem.seed}", "", "", 0)
        failure = Failure("worker", f"{times} workers died while they played it", Family.ENVIRONMENT)
        one = Trajectory(task, problem.env_id, problem.seed, None, Stop.FAILED, failure)
        rows = tuple(replace(one) for _ in range(1 if job.single else self.size))
        return Done(job.key, task, flat(rows), Spent(), tuple(range(len(rows))), ())


def _job(key: int, problem: Problem, seed: int, *, single: bool = False) -> Job:
    return Job(key, replace(problem, past=()), flat(problem.past), seed, single)
