"""Asynchronous training in simulated time: the real loop, pool, admission and controller on an engine, tools and a learner that
only take time. A run of hours takes milliseconds a step, and is the same every time.

The clock is the event loop's: it jumps to the next thing that is due (as trio's MockClock does), so nothing here waits.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import gymnasium
import numpy as np
from torch import Tensor

from turnwise.agents.agent import Moment, Reply
from turnwise.agents.engine import Load
from turnwise.agents.episode import Limits
from turnwise.agents.worlds import Worlds
from turnwise.envs.core import Transition, TurnEnv
from turnwise.trainers.batch import Batch
from turnwise.trainers.concurrency import AIMD, Tuner
from turnwise.trainers.engines.protocol import PolicyEngine
from turnwise.trainers.gate import Gate
from turnwise.trainers.learner import Learner
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.recipe import EnvChoice, Recipe
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.sync import Probe
from turnwise.trainers.trainer import train
from turnwise.trainers.watch import Watch
from turnwise.types import Task

__all__ = ["Scenario", "Simulated", "VirtualLoop", "in_virtual_time", "simulate"]

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps. Raises RuntimeError where it would wait for something that no timer brings."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(cast(selectors.BaseSelector, _Jump(selectors.DefaultSelector(), self)))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _Jump:
    """A selector that lets time pass instead of waiting."""

    def __init__(self, inner: selectors.BaseSelector, loop: VirtualLoop) -> None:
        self._inner, self._loop = inner, loop

    def select(self, timeout: float | None = None) -> Any:
        ready = self._inner.select(0)
        if not ready and timeout is None:
            raise RuntimeError("virtual time: everybody waits, and no timer is set; something real (a thread?) is awaited")
        if not ready and timeout:
            self._loop.jump(timeout)
        return ready

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on a VirtualLoop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How long things take. All times in seconds, of the simulated world."""

    turns: tuple[int, int] = (2, 4)
    """Fewest and most of an episode."""
    reply_tokens: float = 64.0
    """Median; log-normal."""
    reply_spread: float = 0.5
    """Standard deviation of the logarithm."""
    tool_s: float = 0.3
    """Median of a tool call; log-normal."""
    tool_p99_s: float = 3.0
    token_s: float = 0.004
    """A decoding step of an engine with one sequence."""
    token_row_s: float = 0.00003
    """More of it for each further sequence in the batch."""
    max_batch: int = 256
    """Sequences that the engine decodes together."""
    learn_s: float = 1.0
    """An update."""
    sync_s: float = 0.05
    """New weights to the engine, which samples on."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it."""

    seconds: float
    """Simulated."""
    episodes: int
    staleness: float
    """Mean over tokens, in versions."""
    stalest: int
    learning: float
    """Share of the time in which the learner worked."""
    sampling: float
    """Sequences in the engine's batch, on average."""
    cap: int
    """Episodes allowed in flight at the end."""

    @property
    def rate(self) -> float:
        """Episodes per second."""
        return self.episodes / self.seconds


@dataclass(frozen=True, slots=True)
class _Timed:
    """A schedule whose learner takes its time."""

    eta: int
    learn_s: float
    drain: bool = False
    tune: bool = False
    overlaps: bool = True

    async def carry_out(self, work: Callable[[], T]) -> T:
        await asyncio.sleep(self.learn_s)
        return work()


class _Walk(TurnEnv):
    """An episode of some turns, won or lost by chance; its own time is in the agent's."""

    levels = range(1, 2)

    def __init__(self, turns: tuple[int, int], **options: Any) -> None:
        super().__init__(**options)
        self.turns = turns

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task(f"walk/{int(rng.integers(2**62))}", "", "", difficulty)

    def begin(self, task: Task) -> str:
        return "go"

    def turn_limit(self, task: Task) -> int:
        return self.turns[1] + 1

    def play(self, action: str) -> Transition:
        last = self.turn >= int(action)
        return Transition("on", float(last and len(action) % 2), last, role="tool")

    def expert_action(self) -> str:
        return "1"


class _Engine:
    """Decoding slows with the batch; more than `max_batch` sequences queue. It speaks for the agent as well, tools included."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.version = scenario, 0
        self.gate = Gate(scenario.max_batch)
        self.waiting = 0
        self.busy_s = 0.0

    @property
    def load(self) -> Load:
        return Load(usage=self.gate.inside / self.gate.size, waiting=self.waiting)

    @property
    def sync_cost(self) -> tuple[int, float]:
        return 0, 0.0

    async def reply(self, moment: Moment) -> Reply:
        s, rng = self.scenario, np.random.default_rng(moment.seed)
        if moment.parent is not None:
            sigma = math.log(s.tool_p99_s / s.tool_s) / 2.326 if s.tool_s else 0.0
            await asyncio.sleep(s.tool_s * math.exp(sigma * rng.standard_normal()))
        last = int(rng.integers(s.turns[0], s.turns[1] + 1)) if moment.parent is None else int(moment.parent.action)
        tokens = max(1, round(s.reply_tokens * math.exp(s.reply_spread * rng.standard_normal())))
        self.waiting += 1
        async with self.gate:
            self.waiting -= 1
            begun = self.version
            seconds = tokens * (s.token_s + s.token_row_s * (self.gate.inside - 1))
            self.busy_s += seconds
            await asyncio.sleep(seconds)
            versions = (begun, self.version)  # two tokens stand for all: the first and the last
        return Reply(str(last), (0,), (1, 2), (-1.0, -1.0), (1.0, 1.0), "stop", begun, versions if begun < self.version else ())

    async def update_weights(self, weights: Mapping[str, Any], version: int) -> None:
        await asyncio.sleep(self.scenario.sync_s)
        self.version = version

    def fork(self, session: str, twin: str) -> None: ...
    def release(self, session: str) -> None: ...


class _Learner:
    def __init__(self) -> None:
        self.version = 0

    def annotate(self, batch: Batch) -> Batch:
        return batch

    def update(self, batch: Batch, advantages: Tensor, targets: Tensor | None = None) -> dict[str, float]:
        self.version += 1
        return {}

    def weights(self) -> Mapping[str, Any]:
        return {}


def simulate(
    scenario: Scenario,
    *,
    eta: int,
    steps: int = 20,
    tasks: int = 16,
    group: int = 8,
    concurrency: int = 4096,
    control: AIMD | None = None,
    seed: int = 0,
) -> Simulated:
    """A run of `steps` updates on `tasks` groups of `group` episodes each; `control` tunes the concurrency if given."""
    env = EnvChoice(id="simulated/Walk-v0")
    timed = _Timed(eta, scenario.learn_s)
    recipe = Recipe(env=(env,), rollout=Independent(size=group), steps=steps, tasks_per_step=tasks, seed=seed)
    recipe = replace(recipe, schedule=timed, probe=Probe(tokens=0))
    engine, learner = _Engine(scenario), _Learner()

    def make(*_: Any, **__: Any) -> gymnasium.Env[Any, Any]:
        return _Walk(scenario.turns)

    async def go() -> Simulated:
        tuner = Tuner(control, lambda: engine.load) if control else concurrency
        watch = Watch(warn_s=1e6, stall_s=1e9)
        pool = LocalPool(Worlds(make=make), engine, recipe.rollout, limits=Limits(), concurrency=tuner, watch=watch)
        sampler = recipe.sampler.start([(env.id, 1.0, ())])
        ages: list[tuple[float, float]] = []
        episodes = 0
        async for step in train(recipe, pool, cast(Learner, learner), cast(PolicyEngine, engine), sampler):
            ages.append((step.metrics["staleness_mean"], step.metrics["staleness_max"]))
            episodes += len(step.groups) * group
        seconds = asyncio.get_running_loop().time()
        return Simulated(
            seconds=seconds,
            episodes=episodes,
            staleness=float(np.mean([mean for mean, _ in ages])),
            stalest=int(max(most for _, most in ages)),
            learning=steps * scenario.learn_s / seconds,
            sampling=engine.busy_s / seconds,
            cap=pool.gate.size,
        )

    return in_virtual_time(go())
