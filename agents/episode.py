"""One episode of an agent in an environment, turn by turn, forkable at every turn, ending in exactly one Trajectory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gymnasium

from turnwise.agents.agent import Agent, Moment, Reply
from turnwise.agents.failures import Broken, call_env, checked_reset, checked_step, failure_of
from turnwise.agents.retries import Retry
from turnwise.envs.core import TurnEnv
from turnwise.envs.fork import fork
from turnwise.errors import ConfigError, InfraError
from turnwise.seeds import child
from turnwise.types import Failure, Family, Stop, Task, Trajectory, Turn

__all__ = ["Episode", "Limits", "Problem", "Renew"]

T = TypeVar("T")
Env = gymnasium.Env[Any, Any]
Renew = Callable[[Env], Awaitable[Env]]
"""A broken environment -> a new one of its kind."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Where an episode starts: an environment id, the seed of its reset and the options that go with it."""

    env_id: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    past: tuple[Trajectory, ...] = ()
    """Earlier trajectories from here, for who wants to go on from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that no episode may pass, so that no run waits for ever."""

    max_turns: int = 1000
    step_deadline_s: float = 60.0
    """Of each call into an environment that is not `inline` (see TurnEnv.metadata), its constructor, its copying and its expert
    included; the quick ones are called directly."""
    retry: Retry = field(default_factory=Retry)
    clock: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Episode:
    """Mutable and short-lived: `begin`, `advance` (or `sample` and `play`) until it says False, `finish`.

    Failures end it; they never raise out of it.
    """

    def __init__(
        self, agent: Agent, env: Env, problem: Problem, *, seed: int, limits: Limits, renew: Renew | None = None
    ) -> None:
        """`seed` is the seed of the agent's sampling; the environment's is in the problem. `renew` gives a new environment for
        one that broke; without it a broken environment is not retried."""
        self.agent, self.env, self.problem, self.seed, self.limits = agent, env, problem, seed, limits
        self.retried: list[Failure] = []
        """What went wrong and was tried again."""
        self._renew = renew
        self.session = f"{problem.env_id}/{problem.seed}/{seed}"
        self.leaf: Turn | None = None
        self.stop: Stop | None = None
        self.failure: Failure | None = None
        self._inline = bool(env.metadata.get("inline", False))
        self._observation, self._role = "", "user"
        self._ids: tuple[int, ...] = ()
        self._depth = 0
        self._task: Task | None = None
        self._copying = asyncio.Lock()
        self._hangs: Broken | None = None
        """Set once copying the environment took longer than the deadline: it is not tried again."""

    async def begin(self) -> None:
        """Reset the environment to the problem."""
        try:
            self._observation, info = await self._attempt(self._reset)
            self._role = info["role"]
            self._task = self._known_task()
        except Broken as error:
            if isinstance(error.__cause__, ConfigError):
                raise error.__cause__ from None  # a wrong option is the caller's to mend, not the world's failure
            self._fail(error)

    @property
    def task(self) -> Task:
        return self._task or Task(f"{self.problem.env_id}:{self.problem.seed}", "", "", 0)

    async def advance(self) -> bool:
        """Play one turn; False once the episode is over."""
        reply = await self.sample()
        return reply is not None and await self.play(reply)

    async def sample(self, agent: Agent | None = None) -> Reply | None:
        """The next reply, by the episode's agent or another; None once the episode is over."""
        if self.stop is not None:
            return None
        seed, deadline_s = child(self.seed, self._depth), self.limits.step_deadline_s
        moment = Moment(self.env, self._observation, self._role, self.leaf, self._ids, seed, self.session, deadline_s)
        try:
            reply = await self._reply(agent or self.agent, moment)
        except (InfraError, Broken) as error:
            self._fail(error)
            return None
        if reply is None:
            self._end(Stop.TOKENS)
        return reply

    async def play(self, reply: Reply, *, given: bool = False) -> bool:
        """Do what a reply says; False once the episode is over. `given`: the policy did not say it."""
        try:
            result, seconds = await self._attempt(lambda: self._step(reply.text))
            self._record(reply, result, seconds, given)
        except (InfraError, Broken) as error:
            self._fail(error)
        return self.stop is None

    def give_up(self) -> None:
        """End here: what the group may spend is spent."""
        if self.stop is None:
            self._end(Stop.BUDGET)

    async def fork(self, seed: int) -> Episode:
        """A twin that shares every turn so far and goes on with its own environment and sampling seed.

        Where the environment cannot be copied, or not within the deadline, the twin has failed; this episode goes on. No turn
        may be played meanwhile.
        """
        async with self._copying:
            env, broken = await self._copied()
        twin = Episode(self.agent, env, self.problem, seed=seed, limits=self.limits, renew=self._renew)
        twin.leaf, twin.stop, twin.failure = self.leaf, self.stop, self.failure
        twin._observation, twin._role, twin._ids = self._observation, self._role, self._ids
        twin._depth, twin._task = self._depth, self._task
        self.agent.fork(self.session, twin.session)
        if broken is not None:
            twin._fail(broken)
        return twin

    def finish(self) -> Trajectory:
        """The trajectory so far; frees what the agent kept for the conversation."""
        self.agent.release(self.session)
        stop = self.stop or Stop.TRUNCATED
        return Trajectory(self.task, self.problem.env_id, self.problem.seed, self.leaf, stop, self.failure, self._observation)

    async def _copied(self) -> tuple[Env, Broken | None]:
        """A copy of the environment, or what came in its way."""
        if self._hangs is not None:
            return Env(), self._hangs
        try:
            copy = await call_env(
                lambda: fork(self.env),
                inline=self._inline,
                deadline_s=self.limits.step_deadline_s,
                what="the environment's fork",
                late=lambda env: env.close(),
            )
            return copy, None
        except Broken as error:
            if error.__cause__ is None:
                self._hangs = error
            return Env(), error

    async def _call(self, call: Callable[[], Any]) -> Any:
        return await call_env(call, inline=self._inline, deadline_s=self.limits.step_deadline_s)

    async def _reset(self) -> tuple[str, Mapping[str, Any]]:
        options = dict(self.problem.options)
        return checked_reset(await self._call(lambda: self.env.reset(seed=self.problem.seed, options=options)))

    async def _step(self, action: str) -> tuple[Any, float]:
        """What the environment answered, checked, and the seconds it took."""
        started = self.limits.clock()
        result = await self._call(lambda: self.env.step(action))
        return checked_step(result), self.limits.clock() - started

    async def _attempt(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call of the environment. Where its world broke, the same call in a new one that was brought to this point."""
        attempt = 1
        while True:
            try:
                if attempt > 1:
                    await self._rebuild()
                return await call()
            except Broken as error:
                if self._renew is None or not self.limits.retry.allows(error.failure, attempt):
                    raise
                await self._pause(error.failure, attempt)
                attempt += 1

    async def _reply(self, agent: Agent, moment: Moment) -> Reply | None:
        attempt = 1
        while True:
            try:
                return await agent.reply(moment)
            except (InfraError, Broken) as error:
                failure = failure_of(error)
                if not self.limits.retry.allows(failure, attempt):
                    raise
                await self._pause(failure, attempt)
                attempt += 1

    async def _pause(self, failure: Failure, attempt: int) -> None:
        self.retried.append(failure)
        await self.limits.sleep(self.limits.retry.pause(attempt))

    async def _rebuild(self) -> None:
        """A new environment, with every turn so far played again. Raises Broken if it goes another way: then it cannot replay."""
        assert self._renew is not None
        self.env = await self._renew(self.env)
        if self._task is None:
            return  # it was the first reset that broke
        said, _ = await self._reset()
        for turn in self.leaf.path() if self.leaf else ():
            if said != turn.observation:
                break
            (said, *_), _ = await self._step(turn.action)
        if said != self._observation:
            detail = "the environment does not replay: the same seed and actions gave another observation"
            raise Broken(Failure("diverged", detail, Family.TASK))

    def _record(self, reply: Reply, result: Any, duration_s: float, given: bool) -> None:
        observation, reward, terminated, truncated, info = result
        terms: Mapping[str, float] = info["reward_terms"] or {"reward": reward}
        role: str = info["role"]
        self.leaf = Turn(
            observation=self._observation,
            context_ids=reply.context_ids,
            action=reply.text,
            action_ids=reply.action_ids,
            logprobs=reply.logprobs,
            entropies=reply.entropies,
            reward=reward,
            reward_terms=terms,
            outcome=info.get("outcome", reward if terminated else 0.0),
            valid=info["valid_action"],
            tool_calls=int(role == "tool"),
            stop_reason=reply.stop_reason,
            version=reply.version,
            duration_s=duration_s,
            parent=self.leaf,
            given=given,
            versions=reply.versions,
        )
        self._ids = (*self._ids, *reply.context_ids, *reply.action_ids)
        self._observation, self._role = observation, role
        self._depth += 1
        if terminated or truncated:
            self._end(Stop.TERMINATED if terminated else Stop.TRUNCATED)
        elif self._depth >= self.limits.max_turns:
            self._end(Stop.TRUNCATED)

    def _known_task(self) -> Task:
        inner = self.env.unwrapped
        if isinstance(inner, TurnEnv):
            return inner.task
        return Task(f"{self.problem.env_id}:{self.problem.seed}", self._observation, "", 0)

    def _fail(self, error: BaseException) -> None:
        self.failure = failure_of(error)
        self._end(Stop.FAILED)

    def _end(self, stop: Stop) -> None:
        self.stop = stop
