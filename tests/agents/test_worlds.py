"""The store of environments: used again when well, closed exactly once when not."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest

from turnwise.agents.agent import ExpertAgent, Moment, Reply
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.worlds import Worlds, play_all
from turnwise.errors import ConfigError, EnvFailure, UnknownName
from turnwise.types import Trajectory

LIMITS = Limits()


class Counted(gymnasium.Env[Any, Any]):
    """An environment of one turn whose seed decides how it ends; it remembers who was made and who was closed."""

    made: list["Counted"]

    def __init__(self, **kwargs: Any) -> None:
        self.kwargs = kwargs
        self.closed = 0
        self.resets = 0
        self.gate = threading.Event()
        self.made.append(self)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.fault = (options or {}).get("fault", "")
        self.resets += 1
        if self.fault == "config":
            raise ConfigError("no such option")
        return "go", {}

    def step(self, action: str) -> Any:
        if self.fault == "fail":
            raise EnvFailure("env", "broken")
        if self.fault == "hang":
            self.gate.wait()
        return "over", 1.0, True, False, {}

    def close(self) -> None:
        self.closed += 1
        self.gate.set()
        if self.fault == "fail":
            raise RuntimeError("and close breaks too")


@pytest.fixture(autouse=True)
def made() -> list[Counted]:
    Counted.made = []
    return Counted.made


@pytest.fixture
def worlds() -> Iterator[Worlds]:
    gymnasium.register("spine/Counted-v0", entry_point=Counted)
    yield Worlds()
    gymnasium.registry.pop("spine/Counted-v0")


class Says:
    """An agent that says "a", and waits for ever where it is asked to."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.released: list[str] = []

    async def reply(self, moment: Moment) -> Reply | None:
        if getattr(moment.env.unwrapped, "fault", "") == "wait":
            self.waiting.set()
            await asyncio.Event().wait()
        return Reply("a")

    def fork(self, session: str, twin: str) -> None:
        pass

    def release(self, session: str) -> None:
        self.released.append(session)


def problem(fault: str = "", seed: int = 0) -> Problem:
    return Problem("spine/Counted-v0", seed, {"fault": fault})


def test_well_environments_are_used_again(worlds: Worlds, made: list[Counted]):
    async def story() -> None:
        for _ in range(3):
            await worlds.play(Says(), problem(), seed=0, limits=LIMITS)
        await worlds.close()
        await worlds.close()

    asyncio.run(story())
    assert [(e.resets, e.closed) for e in made] == [(3, 1)]


def test_only_as_many_as_play_at_once_are_made(worlds: Worlds, made: list[Counted]):
    starts = [(problem(), i) for i in range(20)]
    played = asyncio.run(play_all(worlds, Says(), starts, limits=LIMITS, concurrency=4))
    assert len(played) == 20 and len(made) == 4


@pytest.mark.parametrize("fault", ["fail", "hang"])
def test_a_broken_environment_is_closed_once_and_replaced(worlds: Worlds, made: list[Counted], fault: str):
    async def story() -> list[Trajectory]:
        short = Limits(step_deadline_s=0.05)
        plays = [(fault, short), ("", LIMITS), ("", LIMITS)]
        return [await worlds.play(Says(), problem(f), seed=0, limits=limits) for f, limits in plays]

    bad, good, again = asyncio.run(story())
    assert bad.failed and not good.failed and not again.failed
    assert [(e.resets, e.closed) for e in made] == [(1, 1), (2, 0)]


def test_a_cancelled_episode_closes_its_environment_and_frees_its_session(worlds: Worlds, made: list[Counted]):
    async def story() -> list[str]:
        agent = Says()
        task = asyncio.create_task(worlds.play(agent, problem("wait"), seed=0, limits=LIMITS))
        await agent.waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return agent.released

    assert len(asyncio.run(story())) == 1
    assert [e.closed for e in made] == [1]


def test_a_close_that_hangs_is_left_behind(worlds: Worlds, made: list[Counted], monkeypatch: pytest.MonkeyPatch):
    gate = threading.Event()
    monkeypatch.setattr(Counted, "close", lambda self: gate.wait())
    short = Worlds(close_deadline_s=0.02)

    async def story() -> Trajectory:
        return await short.play(Says(), problem("fail"), seed=0, limits=LIMITS)

    assert asyncio.run(story()).failed
    gate.set()


def test_an_environment_that_cannot_be_made_because_its_world_is_broken_is_a_failure(worlds: Worlds):
    def broken(**_: Any) -> Any:
        raise EnvFailure("sandbox", "no daemon")

    gymnasium.register("spine/Broken-v0", entry_point=broken)
    try:
        trajectory = asyncio.run(worlds.play(Says(), Problem("spine/Broken-v0", 0), seed=0, limits=LIMITS))
    finally:
        gymnasium.registry.pop("spine/Broken-v0")
    assert trajectory.failure is not None and trajectory.failure.kind == "sandbox"


def test_unknown_names_and_arguments_are_config_errors():
    worlds = Worlds()
    with pytest.raises(UnknownName, match="Did you mean 'turnwise/Sokoban-v0'"):
        asyncio.run(worlds.take("turnwise/Sokobann-v0"))
    with pytest.raises(UnknownName, match="environment id"):
        asyncio.run(worlds.take("nobody/Nothing-v0"))
    with pytest.raises(UnknownName):
        asyncio.run(worlds.take("turnwise/Sokoban-v9"))
    with pytest.raises(ConfigError, match="colour"):
        asyncio.run(Worlds({"colour": "red"}).take("turnwise/Sokoban-v0"))
    with pytest.raises(ConfigError, match="Malformed"):
        asyncio.run(worlds.take("not an id"))


def test_arguments_reach_the_environments_they_are_for(worlds: Worlds, made: list[Counted]):
    gymnasium.register("spine/Other-v0", entry_point=Counted)
    try:
        store = Worlds({"a": 1}, per_env={"spine/Other-v0": {"b": 2}})
        for env_id in ("spine/Counted-v0", "spine/Other-v0"):
            asyncio.run(store.take(env_id))
    finally:
        gymnasium.registry.pop("spine/Other-v0")
    assert [e.kwargs for e in made] == [{"a": 1}, {"a": 1, "b": 2}]


def test_play_all_keeps_the_order_and_tells_of_each(worlds: Worlds):
    told: list[Trajectory] = []
    starts = [(problem("fail" if i % 3 == 0 else "", seed=i), i) for i in range(10)]
    played = asyncio.run(play_all(worlds, Says(), starts, limits=LIMITS, concurrency=3, done=told.append))
    assert [t.seed for t in played] == list(range(10))
    assert [t.failed for t in played] == [i % 3 == 0 for i in range(10)]
    assert sorted(t.seed for t in told) == list(range(10))


def test_a_mistake_of_the_caller_ends_everything_and_cleans_up(worlds: Worlds, made: list[Counted]):
    starts = [(problem("config" if i == 2 else ""), i) for i in range(6)]
    with pytest.raises(ConfigError, match="no such option"):
        asyncio.run(play_all(worlds, Says(), starts, limits=LIMITS, concurrency=6))
    asyncio.run(worlds.close())
    assert [e.closed for e in made] == [1] * len(made)


def test_two_experts_of_the_same_seed_play_the_same_game():
    starts = [(Problem("turnwise/Sokoban-v0", 3, {"split": "train"}), 0)] * 2
    one, two = asyncio.run(play_all(Worlds(), ExpertAgent(), starts, limits=LIMITS))
    assert [t.action for t in one.turns] == [t.action for t in two.turns] and one.outcome == 1
