"""Environments made once and used again, and many episodes at the same time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import gymnasium
from gymnasium.envs.registration import load_env_creator

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
        self._made: set[str] = set()
        """Ids of which one could be made."""

    async def take(self, env_id: str, deadline_s: float = 60.0) -> Env:
        """An environment to reset. Raises UnknownName or ConfigError if there is no such id or it refuses its arguments.

        One that cannot be made because its world is broken (no sandbox, no server), whose constructor raises something else, or
        is not through after `deadline_s` seconds, breaks at its reset, as a failure to count; so does one whose kind was made
        before, whatever it raises: then it is not its arguments.
        """
        if self._free[env_id]:
            return self._free[env_id].pop()
        kwargs = {**self._kwargs, **self._per_env.get(env_id, {})}
        try:
            env = await call_env(
                lambda: self._make(env_id, disable_env_checker=True, **kwargs),
                inline=_quickly_made(env_id),
                deadline_s=deadline_s,
                what="the environment's constructor",
                late=lambda env: env.close(),
            )
            self._made.add(env_id)
            return env
        except Broken as broken:
            error = broken.__cause__ or broken
        match error:
            case gymnasium.error.NameNotFound() | gymnasium.error.NamespaceNotFound() | gymnasium.error.VersionNotFound():
                raise UnknownName("environment id", env_id, ids()) from error
            case ConfigError() | Unsupported():
                raise error
            case UnicodeError():  # of what it read, though a ValueError
                return _NeverMade(error)
            case TypeError() | ValueError() | gymnasium.error.Error() if env_id not in self._made:
                raise ConfigError(f"{env_id}: cannot be made with {kwargs}: {error}") from error
            case _:
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
        episode = await self.prepare(agent, problem, seed=seed, limits=limits)
        try:
            await episode.begin()
            yield episode
        except BaseException:
            agent.release(episode.session)
            await self.give_back(problem.env_id, episode.env, broken=True)
            raise
        await self.give_back(problem.env_id, episode.env, broken=episode.failure is not None)

    async def prepare(self, agent: Agent, problem: Problem, *, seed: int, limits: Limits) -> Episode:
        """An episode in a borrowed environment, not begun; who asks gives the environment back."""

        async def renew(broken: Env) -> Env:
            await self.give_back(problem.env_id, broken, broken=True)
            return await self.take(problem.env_id, limits.step_deadline_s)

        env = await self.take(problem.env_id, limits.step_deadline_s)
        return Episode(agent, env, problem, seed=seed, limits=limits, renew=renew)

    async def play(self, agent: Agent, problem: Problem, *, seed: int, limits: Limits) -> Trajectory:
        """One whole episode."""
        async with self.episode(agent, problem, seed=seed, limits=limits) as episode:
            while await episode.advance():
                pass
            return episode.finish()


def _quickly_made(env_id: str) -> bool:
    """Whether its constructor may be called on the event loop: the class says that it is `inline` (see TurnEnv.metadata), or
    nobody knows the id, and the error comes at once."""
    spec = gymnasium.registry.get(env_id)
    if spec is None or spec.entry_point is None:
        return ":" not in env_id  # "package:id" imports the package first
    try:
        maker = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    except Exception:  # the boundary: whatever its import raises is raised again by the making
        return False
    metadata = getattr(maker, "metadata", None)
    return isinstance(metadata, Mapping) and bool(cast("Mapping[str, Any]", metadata).get("inline", False))


class _NeverMade(gymnasium.Env[Any, Any]):
    """Stands in for an environment whose constructor found its world broken, or hung."""

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
