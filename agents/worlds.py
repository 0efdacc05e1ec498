"""Environments made once and used again, and many episodes at the same time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import gymnasium

from turnwise.agents.agent import Agent
from turnwise.agents.episode import Episode, Limits, Problem
from turnwise.agents.failures import Broken, call_env
from turnwise.envs.registration import ids
from turnwise.errors import ConfigError, UnknownName, Unsupported
from turnwise.types import Trajectory

__all__ = ["Worlds", "first_error", "play_all"]

Env = gymnasium.Env[Any, Any]


class Worlds:
    """A store of environments by id. One that failed is thrown away; one that finished is used again."""

    def __init__(
        self,
        kwargs: Mapping[str, Any] | None = None,
        *,
        per_env: Mapping[str, Mapping[str, Any]] | None = None,
        make: Callable[..., Env] = gymnasium.make,
        close_deadline_s: float = 10.0,
    ) -> None:
        """`kwargs` go to every environment's constructor, `per_env[id]` to that of one id."""
        self._per_env = dict(per_env or {})
        self._kwargs = dict(kwargs or {})
        self._make = make
        self._close_deadline_s = close_deadline_s
        self._free: dict[str, list[Env]] = defaultdict(list)

    def take(self, env_id: str) -> Env:
        """An environment to reset. Raises UnknownName or ConfigError if there is no such id or it refuses its arguments.

        One that cannot be made because its world is broken (no sandbox, no server), or whose constructor raises something else,
        breaks at its reset, as a failure to count.
        """
        if self._free[env_id]:
            return self._free[env_id].pop()
        kwargs = {**self._kwargs, **self._per_env.get(env_id, {})}
        try:
            return self._make(env_id, disable_env_checker=True, **kwargs)
        except (gymnasium.error.NameNotFound, gymnasium.error.NamespaceNotFound, gymnasium.error.VersionNotFound) as error:
            raise UnknownName("environment id", env_id, ids()) from error
        except (ConfigError, Unsupported):
            raise
        except (TypeError, ValueError, gymnasium.error.Error) as error:
            raise ConfigError(f"{env_id}: cannot be made with {kwargs}: {error}") from error
        except (Exception, SystemExit) as error:  # the boundary: a constructor is somebody's code too
            return _NeverMade(error)

    async def give_back(self, env_id: str, env: Env, *, broken: bool) -> None:
        """Return an environment; a broken one is closed (with a deadline, errors swallowed: it is gone either way)."""
        if not broken:
            self._free[env_id].append(env)
            return
        with suppress(Broken):
            await call_env(env.close, inline=False, deadline_s=self._close_deadline_s)

    async def close(self) -> None:
        """Close every environment in store, all together: those that hang cost one deadline, and not one each."""
        stored = [(env_id, env) for env_id, envs in self._free.items() for env in envs]
        self._free.clear()
        await asyncio.gather(*(self.give_back(env_id, env, broken=True) for env_id, env in stored))

    @asynccontextmanager
    async def episode(self, agent: Agent, problem: Problem, *, seed: int, limits: Limits) -> AsyncGenerator[Episode]:
        """An episode in a borrowed environment, begun; the environment goes back at the end whatever happens."""
        episode = self.prepare(agent, problem, seed=seed, limits=limits)
        try:
            await episode.begin()
            yield episode
        except BaseException:
            agent.release(episode.session)
            await self.give_back(problem.env_id, episode.env, broken=True)
            raise
        await self.give_back(problem.env_id, episode.env, broken=episode.failure is not None)

    def prepare(self, agent: Agent, problem: Problem, *, seed: int, limits: Limits) -> Episode:
        """An episode in a borrowed environment, not begun; who asks gives the environment back."""

        async def renew(broken: Env) -> Env:
            await self.give_back(problem.env_id, broken, broken=True)
            return self.take(problem.env_id)

        return Episode(agent, self.take(problem.env_id), problem, seed=seed, limits=limits, renew=renew)

    async def play(self, agent: Agent, problem: Problem, *, seed: int, limits: Limits) -> Trajectory:
        """One whole episode."""
        async with self.episode(agent, problem, seed=seed, limits=limits) as episode:
            while await episode.advance():
                pass
            return episode.finish()


class _NeverMade(gymnasium.Env[Any, Any]):
    """Stands in for an environment whose constructor found its world broken."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        raise self.error


def first_error(error: Exception) -> Exception:
    """The first error of a task group, which says it all: the others are its siblings, cancelled or alike."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def play_all(
    worlds: Worlds,
    agent: Agent,
    starts: Iterable[tuple[Problem, int]],
    *,
    limits: Limits,
    concurrency: int = 64,
    done: Callable[[Trajectory], None] = lambda _: None,
) -> list[Trajectory]:
    """Many episodes, each its own task, at most `concurrency` at once; trajectories in the order of `starts` (problem, seed)."""
    gate = asyncio.Semaphore(concurrency)

    async def one(problem: Problem, seed: int) -> Trajectory:
        async with gate:
            trajectory = await worlds.play(agent, problem, seed=seed, limits=limits)
        done(trajectory)
        return trajectory

    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(problem, seed)) for problem, seed in starts]
    except ExceptionGroup as group:
        raise first_error(group) from None
    return [task.result() for task in running]
