"""Failures are data: every admitted episode ends once, the world is tried again, the task is not, nobody waits for ever."""

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainers.three import Three
from turnwise.agents.agent import Moment, RandomAgent, Reply
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.retries import Retry
from turnwise.agents.worlds import Worlds
from turnwise.envs.core import Transition
from turnwise.envs.testing import ChaosEnv
from turnwise.errors import ConfigError, EngineFailure, EnvFailure, InfraError, SandboxFailure
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.recording import how_it_ended
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.rollouts.tree import Tree
from turnwise.trainers.watch import Watch
from turnwise.types import Failure, Family, Group, Trajectory

WAYS = {"terminated", "truncated", "overlong", "budget", *(family.value for family in Family)}


class Broken(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Raises what it is told to at the step of that number (0: its reset), and never again after `times`."""

    def __init__(self, at: int, error: BaseException, counter: list[int], times: int = 1) -> None:
        super().__init__(Three())
        self.at, self.error, self.counter, self.times = at, error, counter, times
        self.turn = 0

    def _maybe(self) -> None:
        if self.turn == self.at and len(self.counter) < self.times:
            self.counter.append(self.turn)
            raise self.error

    def reset(self, **kwargs: Any) -> Any:
        self.turn = 0
        self._maybe()
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        self.turn += 1
        self._maybe()
        return self.env.step(action)


@dataclass
class Slept:
    """A clock that nobody waits for."""

    pauses: list[float] = field(default_factory=list[float])

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


def collect(make: Any, limits: Limits, *, agent: Any = None, size: int = 4, count: int = 2, **kwargs: Any) -> list[Group]:
    rollout = kwargs.pop("rollout", Independent(size=size))

    async def go() -> list[Group]:
        pool = LocalPool(Worlds(make=make), agent or RandomAgent(), rollout, limits=limits, **kwargs)
        try:
            return await pool.collect([Problem("x/Three-v0", i, {"split": "train"}) for i in range(count)], 0)
        finally:
            await pool.close()

    return asyncio.run(go())


def told(groups: Sequence[Group]) -> list[Any]:
    return [[[(u.observation, u.action, u.reward) for u in t.turns] for t in g.trajectories] for g in groups]


PLAIN = Limits()


# --- another attempt ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 2, 3])
@pytest.mark.parametrize("error", [EnvFailure("server", "gone"), SandboxFailure("docker", "gone")])
def test_a_broken_world_is_tried_again_from_the_same_point(at: int, error: Exception):
    """The episode is the one that would have been without the failure, turn by turn; nobody above sees a thing."""
    seen: list[int] = []
    heard: list[Failure] = []
    sleep = Slept()
    limits = Limits(retry=Retry(attempts=2), sleep=sleep)
    groups = collect(lambda *_, **__: Broken(at, error, seen), limits, retried=lambda _, failure: heard.append(failure))
    assert seen == [at] and sleep.pauses == [0.5]
    assert told(groups) == told(collect(lambda *_, **__: Three(), PLAIN)) and len(groups[0].survivors) == 4
    assert [failure.kind for failure in heard] == [error.args[0].split(":")[0]]


def test_forks_survive_a_broken_world_too():
    seen: list[int] = []
    limits = Limits(retry=Retry(attempts=3), sleep=Slept())
    tree = Tree()
    broken = collect(lambda *_, **__: Broken(2, EnvFailure("server"), seen, times=2), limits, rollout=tree)
    assert len(seen) == 2 and all(not t.failed for g in broken for t in g.trajectories)
    whole = collect(lambda *_, **__: Three(), PLAIN, rollout=tree)
    assert [len(g.trajectories) for g in broken] == [len(g.trajectories) for g in whole]
    assert [len(list(g.nodes())) for g in broken] == [len(list(g.nodes())) for g in whole], "what was shared still is"


class Dumb(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "family"),
    [
        (KeyError("theirs"), Family.TASK),
        (TimeoutError("late"), Family.TIMEOUT),
        (SystemExit(3), Family.TASK),
        (asyncio.CancelledError(), Family.TASK),
        (GeneratorExit(), Family.TASK),
        (MemoryError(), Family.TASK),
        (RecursionError("deep"), Family.TASK),
        (BaseExceptionGroup("both", [SystemExit(1), KeyboardInterrupt()]), Family.TASK),
        (Dumb(), Family.TASK),
    ],
)
def test_a_tasks_own_error_and_a_timeout_are_not(error: Any, family: Family):
    seen: list[int] = []
    sleep = Slept()
    limits = Limits(retry=Retry(attempts=9), sleep=sleep)
    groups = collect(lambda *_, **__: Broken(2, error, seen), limits, size=2, count=1)
    failures = [t.failure for t in groups[0].trajectories if t.failure]
    assert [f.family for f in failures] == [family] and len(seen) == 1 and not sleep.pauses
    assert len(groups[0].survivors) == 1, "the group goes on without it"


def test_attempts_are_bounded_and_pauses_grow():
    sleep = Slept()
    limits = Limits(retry=Retry(attempts=5, pause_s=1.0, longest_s=3.0), sleep=sleep)
    groups = collect(lambda *_, **__: Broken(1, EnvFailure("server"), [], times=99), limits, size=1, count=1)
    (trajectory,) = groups[0].trajectories
    assert trajectory.failure == Failure("server", "", Family.ENVIRONMENT)
    assert sleep.pauses == [1.0, 2.0, 3.0, 3.0]


class Flaky:
    """An agent whose provider fails the first times it is asked for a reply."""

    def __init__(self, failures: int) -> None:
        self.left = failures

    async def reply(self, moment: Moment) -> Reply | None:
        if self.left:
            self.left -= 1
            raise EngineFailure("provider", "503")
        return await RandomAgent().reply(moment)

    def fork(self, session: str, twin: str) -> None: ...
    def release(self, session: str) -> None: ...


def test_a_provider_is_asked_again_for_the_same_reply():
    limits = Limits(retry=Retry(attempts=3), sleep=Slept())
    groups = collect(lambda *_, **__: Three(), limits, agent=Flaky(2), size=1)
    assert told(groups) == told(collect(lambda *_, **__: Three(), PLAIN, size=1))
    (gone, *_) = collect(lambda *_, **__: Three(), limits, agent=Flaky(3), size=1, count=1)
    assert gone.trajectories[0].failure == Failure("provider", "503", Family.PROVIDER)


def test_a_constructor_that_raises_costs_the_episodes_that_wanted_it():
    made: list[int] = []

    def make(*_: Any, **__: Any) -> Any:
        made.append(0)
        if len(made) == 1:
            raise OSError("no space left")
        return Three()

    (group,) = collect(make, PLAIN, count=1)
    assert [t.failure for t in group.trajectories if t.failure] == [Failure("crash", "OSError: no space left", Family.TASK)]
    assert len(group.survivors) == 3

    def refuses(*_: Any, **__: Any) -> Any:
        raise ValueError("levels are 1 to 3")

    with pytest.raises(ConfigError, match="x/Three-v0: cannot be made with"):
        collect(refuses, PLAIN)


def test_an_environment_that_does_not_replay_is_not_trusted():
    made: list[int] = []

    def make(*_: Any, **__: Any) -> Any:
        made.append(0)
        env = Three() if len(made) > 1 else Broken(2, EnvFailure("server"), [])
        if len(made) > 1:
            env.begin = lambda task: f"other {len(made)}"  # type: ignore[method-assign]
        return env

    (group,) = collect(make, Limits(retry=Retry(attempts=5), sleep=Slept()), size=1, count=1)
    failure = group.trajectories[0].failure
    assert failure is not None and failure.kind == "diverged" and failure.family is Family.TASK and len(made) == 2


def test_what_makes_no_sense():
    with pytest.raises(ConfigError, match="a task's own error"):
        Retry(families=(Family.TASK,))
    with pytest.raises(ConfigError, match="attempts"):
        Retry(attempts=0)


# --- each admitted episode ends once ------------------------------------------------------------------------------------


@given(
    rates=st.fixed_dictionaries({n: st.sampled_from([0.0, 0.05, 0.2]) for n in ("fail", "hang", "crash", "nonsense")}),
    attempts=st.integers(1, 3),
    seed=st.integers(0, 1000),
    branching=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_exactly_one_terminal_event(rates: dict[str, float], attempts: int, seed: int, branching: bool):
    ends: list[Trajectory] = []
    made: list[ChaosEnv] = []

    def make(*_: Any, **__: Any) -> ChaosEnv:
        made.append(ChaosEnv(Three(), **rates, seed=1000 * seed + len(made)))
        return made[-1]

    limits = Limits(step_deadline_s=0.05 if rates["hang"] else 60.0, retry=Retry(attempts=attempts, pause_s=0.0))
    try:
        groups = collect(make, limits, rollout=Tree() if branching else Independent(size=4), done=ends.append)
    finally:
        for env in made:
            env.release()
    assert sorted(map(id, ends)) == sorted(id(t) for g in groups for t in g.trajectories)
    assert branching or [len(g.trajectories) for g in groups] == [4, 4]
    ways = Counter(how_it_ended(t) for t in ends)
    assert ways.total() == len(ends) and ways.keys() <= WAYS
    for trajectory in ends:
        assert trajectory.failed == (how_it_ended(trajectory) in set(Family)), "a failure and an end are two things"
    if not any(rates.values()):
        assert ways.keys() == {"terminated"}


# --- nobody waits for ever ----------------------------------------------------------------------------------------------


class Mute:
    """An engine that never answers."""

    async def reply(self, moment: Moment) -> Reply | None:
        await asyncio.Event().wait()
        return None

    def fork(self, session: str, twin: str) -> None: ...
    def release(self, session: str) -> None: ...


def test_the_watchdog_says_what_it_waits_for_and_then_gives_up():
    said: list[str] = []
    with pytest.raises(InfraError) as caught:
        collect(lambda *_, **__: Three(), PLAIN, agent=Mute(), watch=Watch(warn_s=0.04, stall_s=0.2, say=said.append))
    assert caught.value.kind == "stalled"
    for text in (str(caught.value), *said):
        assert "x/Three-v0 three-" in text and "the engine's reply, for " in text and "and 3 more" in text
    assert said, "it warned before"


def test_batches_that_are_rolled_out_together_are_not_late_any_sooner():
    said: list[str] = []
    watch = Watch(warn_s=0.25, stall_s=0.5, say=said.append)

    async def go() -> float:
        clock = asyncio.get_running_loop().time
        started = clock()
        guards = [asyncio.create_task(watch.guard()) for _ in range(4)]
        done, others = await asyncio.wait(guards, return_when=asyncio.FIRST_COMPLETED)
        assert {type(task.exception()) for task in done} == {InfraError}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return clock() - started

    assert asyncio.run(go()) > 0.49, "time is counted once, and not once a batch"
    assert len(said) == 1


def test_environments_that_hang_as_they_close_cost_one_deadline():
    release = threading.Event()
    closing: list[str] = []

    class Stuck(Three):
        def close(self) -> None:
            closing.append(threading.current_thread().name)
            release.wait()

    async def go() -> None:
        worlds = Worlds(make=lambda *_, **__: Stuck(), close_deadline_s=60.0)
        for env in [await worlds.take("x/Three-v0") for _ in range(40)]:
            await worlds.give_back("x/Three-v0", env, broken=False)
        began = asyncio.create_task(worlds.close())
        while len(closing) < 40:  # all at once: one after the other they would never get there
            assert not began.done()
            await asyncio.sleep(0.01)
        release.set()
        await began

    try:
        asyncio.run(asyncio.wait_for(go(), 240))
    finally:
        release.set()


def test_a_hung_environment_costs_its_deadline_and_not_the_run():
    release = threading.Event()

    class Hung(Three):
        metadata = {**Three.metadata, "inline": False}  # noqa: RUF012

        def play(self, action: str) -> Transition:
            if self.turn == 2 and action.startswith("hang"):
                release.wait()
            return super().play(action)

    class Hangs(RandomAgent):
        async def reply(self, moment: Moment) -> Reply | None:
            reply = await super().reply(moment)
            return replace(reply, text="hang") if reply and moment.session.endswith(first) else reply

    sessions: list[str] = []

    class Notes(RandomAgent):
        async def reply(self, moment: Moment) -> Reply | None:
            sessions.append(moment.session)
            return await super().reply(moment)

    collect(lambda *_, **__: Hung(), PLAIN, agent=Notes(), count=1)
    first = sessions[0]
    try:
        (group,) = collect(lambda *_, **__: Hung(), Limits(step_deadline_s=2.0), agent=Hangs(), count=1)
    finally:
        release.set()
    assert [how_it_ended(t) for t in group.trajectories].count("timeout") == 1 and len(group.survivors) == 3


def test_progress_keeps_the_watchdog_quiet():
    said: list[str] = []

    class Slow(RandomAgent):
        async def reply(self, moment: Moment) -> Reply | None:
            await asyncio.sleep(0.03)
            return await super().reply(moment)

    groups = collect(lambda *_, **__: Three(), PLAIN, agent=Slow(), watch=Watch(warn_s=60.0, stall_s=120.0, say=said.append))
    assert not said and all(len(g.survivors) == 4 for g in groups)
