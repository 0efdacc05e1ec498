"""The pool: groups in order, one trajectory for each admitted episode, forks that share what they share."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.agents.agent import ExpertAgent, ModelAgent, Moment, RandomAgent, Reply
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.worlds import Worlds
from turnwise.envs.core import Transition, TurnEnv
from turnwise.envs.testing import ChaosEnv
from turnwise.errors import ConfigError, EnvFailure
from turnwise.trainers.batch import collate
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.rollouts.protocol import Event, Grow, Played
from turnwise.types import Group, Stop, Task, Trajectory

LIMITS = Limits()


class Four(TurnEnv):
    """Four turns of numbers; nothing can be won but the reward of saying something."""

    levels = range(1, 2)
    alive = 0

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task(f"four-{int(rng.integers(10**6))}", "count", "", difficulty)

    def begin(self, task: Task) -> str:
        return task.id

    def play(self, action: str) -> Transition:
        self.said = action
        return Transition(f"{self.turn} {int(self.np_random.integers(100))}", float(len(action) % 3), self.turn == 4)

    def expert_action(self) -> str:
        return "one"


@dataclass
class Made:
    """Where the environments of a test come from; what became of them."""

    rates: dict[str, float] = field(default_factory=dict[str, float])
    seed: int = 0
    envs: list[gymnasium.Env[Any, Any]] = field(default_factory=list[gymnasium.Env[Any, Any]])

    def __call__(self, env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
        env = ChaosEnv(Four(), **self.rates, seed=len(self.envs) + 1000 * self.seed) if self.rates else Four()
        self.envs.append(env)
        return env


def problems(count: int) -> list[Problem]:
    return [Problem("spine/Four-v0", i, {"split": "train"}) for i in range(count)]


def collect(pool: LocalPool, count: int = 3, seed: int = 0) -> list[Group]:
    async def all_of_it() -> list[Group]:
        groups = await pool.collect(problems(count), seed)
        await pool.close()
        return groups

    return asyncio.run(all_of_it())


def make(rollout: Any = None, agent: Any = None, made: Made | None = None, **kwargs: Any) -> LocalPool:
    worlds = Worlds(make=made or Made())
    return LocalPool(worlds, agent or RandomAgent(), rollout or Independent(size=4), limits=LIMITS, **kwargs)


def test_groups_come_in_the_order_of_the_problems():
    told: list[Trajectory] = []
    groups = collect(make(done=told.append), 5)
    assert [{t.seed for t in g.trajectories} for g in groups] == [{i} for i in range(5)]
    assert all(len(g.trajectories) == 4 and len({t.task.id for t in g.trajectories}) == 1 for g in groups)
    assert all(g.task == g.trajectories[0].task for g in groups)
    assert sorted(map(id, told)) == sorted(id(t) for g in groups for t in g.trajectories)


def said(groups: Sequence[Group]) -> list[list[list[str]]]:
    return [[[turn.action for turn in t.turns] for t in g.trajectories] for g in groups]


def test_members_of_a_group_differ_and_seeds_decide_all():
    once, again, other = collect(make(), seed=1), collect(make(), seed=1), collect(make(), seed=2)
    assert said(once) == said(again) and said(once) != said(other)
    members = [tuple(actions) for actions in said(once)[0]]
    assert len(set(members)) == 4


def test_concurrency_changes_nothing_of_what_is_sampled():
    model, tokenizer = Scratch(hidden=16, layers=1, heads=2, mlp=16, vocabulary=320, context=256).build(["count one two"], 0)
    template = ChatTemplate(tokenizer)  # type: ignore[arg-type]
    rows: list[list[tuple[int, ...]]] = []
    for concurrency in (1, 3, 64):
        agent = ModelAgent(TorchEngine(model), template, Sampling(max_tokens=6))
        groups = collect(make(agent=agent, concurrency=concurrency), 2)
        rows.append([t.ids for g in groups for t in g.trajectories])
    assert rows[0] == rows[1] == rows[2]
    assert len(set(rows[0])) == 8


def test_no_more_than_the_concurrency_play_at_once():
    made = Made()
    collect(make(made=made, concurrency=2), 4)
    assert len(made.envs) <= 2


# --- failures ----------------------------------------------------------------------------------------------------------


@given(
    rates=st.fixed_dictionaries({name: st.sampled_from([0.0, 0.05, 0.2, 0.33]) for name in ("fail", "crash", "nonsense")}),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_every_admitted_episode_ends_as_exactly_one_trajectory(rates: dict[str, float], seed: int):
    told: list[Trajectory] = []
    groups = collect(make(made=Made(rates, seed), done=told.append), 3, seed)
    assert [len(g.trajectories) for g in groups] == [4, 4, 4]
    assert sorted(map(id, told)) == sorted(id(t) for g in groups for t in g.trajectories)
    for trajectory in told:
        assert trajectory.failed == (trajectory.stop is Stop.FAILED)
        assert trajectory.failed or len(trajectory.turns) == 4, "none is lost on the way and called done"
    if not any(rates.values()):
        assert not any(t.failed for t in told)


def test_one_failure_does_not_drop_its_group():
    """5 % of episodes break: at least 90 % of all are still there to learn from, in groups of nearly full size."""
    per_call = 1 - 0.95 ** (1 / 5)  # a reset and four steps
    groups = collect(make(Independent(size=8), made=Made({"fail": per_call})), 25)
    sizes = [len(g.survivors) for g in groups]
    assert min(sizes) >= 1 and any(size < 8 for size in sizes)
    assert sum(sizes) >= 0.9 * 8 * 25
    batch = collate(groups)
    assert int(batch.failed.sum()) == 8 * 25 - sum(sizes)
    assert not bool(batch.mask[batch.failed].any())


def test_a_hanging_environment_does_not_hold_its_group():
    made = Made({"hang": 1.0})
    pool = LocalPool(Worlds(make=made), RandomAgent(), Independent(size=3), limits=Limits(step_deadline_s=0.05))
    (group,) = collect(pool, 1)
    assert [t.failure and t.failure.kind for t in group.trajectories] == ["timeout"] * 3
    for env in made.envs:
        assert isinstance(env, ChaosEnv)
        env.release()


def test_a_group_of_failures_still_names_its_task():
    (group,) = collect(make(made=Made({"fail": 1.0})), 1)
    assert group.task.id == "spine/Four-v0:0" and group.survivors == ()
    assert collate([group]).tokens.shape == (4, 1)


def test_a_mistake_in_the_settings_is_raised_as_it_is():
    async def wrong() -> None:
        await make().collect([Problem("spine/Four-v0", 0, {"level": 3})], 0)

    with pytest.raises(ConfigError, match="reset option"):
        asyncio.run(wrong())


# --- forks -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ForkOnce:
    """One root, and `forks` trajectories that leave it after its turn number `depth`; the state is the wishes yet to ask for."""

    depth: int = 2
    forks: int = 2

    @property
    def size(self) -> int:
        return 1 + self.forks

    def start(self, rng: np.random.Generator) -> tuple[Grow, ...]:
        return (Grow(),)

    def ask(self, state: tuple[Grow, ...] | None) -> tuple[Sequence[Grow], tuple[Grow, ...] | None]:
        forked = bool(state) and state[0].node is not None
        return state or (), None if forked or state is None else ()

    def tell(self, state: tuple[Grow, ...] | None, event: Event) -> tuple[Grow, ...] | None:
        here = state is not None and isinstance(event, Played) and len(event.turn.path()) == self.depth
        return (Grow(event.turn),) * self.forks if here and isinstance(event, Played) else state


@pytest.mark.parametrize("concurrency", [1, 64])
def test_forks_share_the_turns_before_them(concurrency: int):
    model, tokenizer = Scratch(hidden=16, layers=1, heads=2, mlp=16, vocabulary=320, context=512).build(["count one two"], 0)
    agent = ModelAgent(TorchEngine(model), ChatTemplate(tokenizer), Sampling(max_tokens=6))  # type: ignore[arg-type]
    made = Made()
    groups = collect(make(ForkOnce(), agent, made, concurrency=concurrency), 2)
    for group in groups:
        root, *forks = group.trajectories
        assert len(forks) == 2 and all(len(t.turns) == 4 for t in group.trajectories)
        for fork in forks:
            assert [a is b for a, b in zip(root.turns, fork.turns, strict=True)] == [True, True, False, False]
        assert len({t.ids for t in group.trajectories}) == 3, "each goes on with a seed of its own"
        assert len(list(group.nodes())) == 2 + 3 * 2
    batch = collate(groups)
    assert torch_equal(batch.node[0, :2], batch.node[1, :2]) and torch_equal(batch.node[0, :2], batch.node[2, :2])
    assert len(batch.node.unique()) == 2 * 8
    assert float(batch.node_weights().sum()) == sum(len(t.action_ids) for g in groups for t, _ in g.nodes())


def torch_equal(a: Any, b: Any) -> bool:
    return bool((a == b).all())


def test_a_fork_may_only_be_asked_for_at_the_turn_just_told():
    class Late(ForkOnce):
        def tell(self, state: Any, event: Event) -> Any:
            late = isinstance(event, Played) and len(event.turn.path()) == 2
            return (Grow(event.turn.path()[0]),) if late and isinstance(event, Played) else ()

    with pytest.raises(ValueError, match="Late: a fork can only be asked for at the turn just told"):
        collect(make(Late(), ExpertAgent()), 1)


class Recorded(Four):
    """Counts who is open; the copy of an environment is one more."""

    log: list[str]

    def fork(self) -> Any:
        self.log.append("open")
        return super().fork()

    def close(self) -> None:
        self.log.append("close")


def test_every_environment_is_closed_exactly_once():
    log: list[str] = []

    def new(env_id: str, **_: Any) -> Recorded:
        log.append("open")
        return Recorded()

    Recorded.log = log
    pool = LocalPool(Worlds(make=new), RandomAgent(), ForkOnce(), limits=LIMITS)
    collect(pool, 3)
    assert log.count("open") == log.count("close") >= 1 + 3 * 2, "roots may be used again, forks never"


def test_forks_are_closed_when_the_group_is_cancelled():
    log: list[str] = []
    Recorded.log = log
    stuck = asyncio.Event()

    class Waits(RandomAgent):
        async def reply(self, moment: Moment) -> Reply | None:
            if moment.parent is not None and len(moment.parent.path()) == 2:
                stuck.set()
                await asyncio.Event().wait()
            return Reply("a")

    def new(env_id: str, **_: Any) -> Recorded:
        log.append("open")
        return Recorded()

    async def story() -> None:
        pool = LocalPool(Worlds(make=new), Waits(), ForkOnce(), limits=LIMITS, concurrency=1)
        task = asyncio.create_task(pool.collect(problems(1), 0))
        await stuck.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert log.count("open") == 3 and log.count("close") == 3


def test_a_fork_that_fails_is_one_failed_trajectory():
    class NoRoom(Four):
        def fork(self) -> Any:
            raise EnvFailure("snapshot", "no space")

    pool = LocalPool(Worlds(make=lambda env_id, **_: NoRoom()), RandomAgent(), ForkOnce(), limits=LIMITS)
    (group,) = collect(pool, 1)
    assert [t.failure and t.failure.kind for t in group.trajectories] == [None, "snapshot", "snapshot"]


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == "turnwise-env":
            thread.join(5)
            assert not thread.is_alive()
