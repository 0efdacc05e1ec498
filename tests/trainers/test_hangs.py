"""An environment that hangs, wherever it is called, costs its deadline: constructor, reset, step, fork, expert, close."""

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import pytest

from turnwise.agents.agent import ExpertAgent, Moment, RandomAgent
from turnwise.agents.episode import Episode, Limits, Problem
from turnwise.agents.failures import Broken
from turnwise.agents.retries import Retry
from turnwise.agents.store import read_trajectories
from turnwise.agents.worlds import Worlds, play_all
from turnwise.envs.math.arithmetic import Arithmetic
from turnwise.errors import Unsupported
from turnwise.trainers.cluster.hosts import WorkerHost
from turnwise.trainers.cluster.parcels import Done, Job, emptied, flat, grown, packed
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.recipe import EnvChoice, Recipe
from turnwise.trainers.recording import read_events
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.rollouts.restart import Restart
from turnwise.trainers.rollouts.tree import Tree
from turnwise.trainers.sft import Teacher
from turnwise.trainers.watch import Watch
from turnwise.types import Family, Group, Trajectory

CHAOS = "turnwise/Chaos-v0"
LIMITS = Limits(step_deadline_s=1.0)
NAMES = {
    "make": "the constructor of an environment",
    "reset": "the reset of an environment",
    "step": "the step of an environment",
    "fork": "the fork of an environment",
    "expert": "the expert of an environment",
    "close": "the close of an environment",
}


def chaos(*where: str, rate: float = 1.0, hang_s: float = 20.0, **kwargs: Any) -> dict[str, Any]:
    """Arithmetic whose calls in `where` hang; its threads are gone some time after the test."""
    return {"env_id": "turnwise/Arithmetic-v0", "where": where, "hang": rate, "hang_s": hang_s, **kwargs}


def roll(kwargs: dict[str, Any], rollout: Any, said: list[str], ends: list[Trajectory], limits: Limits = LIMITS) -> list[Group]:
    async def go() -> list[Group]:
        worlds = Worlds(per_env={CHAOS: kwargs}, close_deadline_s=LIMITS.step_deadline_s)
        watch = Watch(warn_s=0.1, say=said.append)
        pool = LocalPool(worlds, RandomAgent(), rollout, limits=limits, done=ends.append, watch=watch)
        try:
            return await pool.collect([Problem(CHAOS, i, {"split": "train"}) for i in range(2)], 0)
        finally:
            await pool.close()

    return asyncio.run(asyncio.wait_for(go(), 120))


@pytest.mark.parametrize("where", NAMES)
def test_a_call_that_hangs_costs_its_deadline_and_the_watchdog_names_it(where: str):
    """Every time that it is called: so episodes that need it end in a timeout, and the others go on."""
    said: list[str] = []
    ends: list[Trajectory] = []
    rollout = {"fork": Tree(), "close": Tree(), "expert": Restart(size=3, share=1.0)}.get(where, Independent(size=3))
    groups = roll(chaos(where), rollout, said, ends, Limits() if where == "close" else LIMITS)
    assert sorted(map(id, ends)) == sorted(id(t) for g in groups for t in g.trajectories), "one end each"
    timeouts = [t for t in ends if t.failure and t.failure.family is Family.TIMEOUT]
    if where == "fork":
        assert timeouts and len(timeouts) < len(ends) and all(t in timeouts or not t.failed for t in ends)
    else:
        assert timeouts == ([] if where == "close" else ends)
    assert any(NAMES[where] in text for text in said), said


def test_a_source_that_cannot_be_copied_costs_one_deadline_for_all_its_forks():
    class Slow(Arithmetic):
        metadata = {**Arithmetic.metadata, "inline": False}  # noqa: RUF012
        calls: ClassVar = Counter[str]()
        gate = threading.Event()

        def fork(self) -> Any:
            self.calls["fork"] += 1
            self.gate.wait()
            self.calls["copies"] += 1
            return Copy()

    class Copy(Arithmetic):
        def close(self) -> None:
            Slow.calls["closed"] += 1

    async def story() -> list[Trajectory]:
        episode = Episode(ExpertAgent(), Slow(), Problem("x", 7), seed=0, limits=Limits(step_deadline_s=2.0))
        await episode.begin()
        twins = await asyncio.gather(*(episode.fork(seed) for seed in range(3)))
        assert Slow.calls == {"fork": 1}
        while await episode.advance():
            pass
        Slow.gate.set()
        async with asyncio.timeout(60):
            while Slow.calls["closed"] < 1:  # the copy that came too late
                await asyncio.sleep(0.01)
        return [episode.finish(), *(twin.finish() for twin in twins)]

    first, *twins = asyncio.run(story())
    assert first.outcome == 1
    assert [t.failure and t.failure.detail for t in twins] == ["the environment's fork did not answer within 2 s"] * 3
    assert Slow.calls == {"fork": 1, "copies": 1, "closed": 1}


@pytest.mark.parametrize("cancelled", [False, True])
def test_an_environment_that_was_made_too_late_is_closed(cancelled: bool):
    gate, begun, closed = threading.Event(), threading.Event(), threading.Event()

    class Late(gymnasium.Env[Any, Any]):
        def __init__(self) -> None:
            begun.set()
            gate.wait()

        def close(self) -> None:
            closed.set()

    async def story() -> None:
        making = asyncio.create_task(Worlds().take("x/Late-v0", 60.0 if cancelled else 0.05))
        if cancelled:
            await asyncio.to_thread(begun.wait)
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
        else:
            with pytest.raises(Broken, match="the environment's constructor did not answer within"):
                (await making).reset()
        assert not closed.is_set()
        gate.set()
        assert await asyncio.to_thread(closed.wait, 60)

    gymnasium.register("x/Late-v0", entry_point=lambda **_: Late())
    try:
        asyncio.run(story())
    finally:
        gymnasium.registry.pop("x/Late-v0")
        gate.set()


def test_what_was_made_once_is_no_wrong_argument_any_more():
    """A ValueError of the first constructor is the caller's mistake and ends everything; later it costs its episode."""
    made: list[int] = []

    def make(env_id: str, **_: Any) -> Any:
        made.append(0)
        if len(made) == 2:
            raise ValueError("no JSON where there was some")
        return Arithmetic()

    async def story() -> list[Trajectory]:
        worlds, problem = Worlds(make=make), Problem("x/Some-v0", 0, {"split": "train"})
        starts = [(problem, i) for i in range(3)]
        await worlds.give_back(problem.env_id, await worlds.take(problem.env_id), broken=True)
        return await play_all(worlds, ExpertAgent(), starts, limits=Limits(), concurrency=1)

    failures = [t.failure for t in asyncio.run(story())]
    assert [f and f.detail for f in failures] == ["ValueError: no JSON where there was some", None, None]


def test_a_constructor_that_hangs_now_and_then_is_tried_again_where_timeouts_are():
    """The faults of a constructor are those of the n-th that is made; the next one may go well."""
    limits = Limits(step_deadline_s=1.0, retry=Retry(attempts=40, pause_s=0.0, families=(Family.TIMEOUT,)))
    ends: list[Trajectory] = []
    roll(chaos("make", rate=0.3, transient=True), Independent(size=2), [], ends, limits)
    assert len(ends) == 4 and not any(t.failed for t in ends)


# --- experts and teachers ---------------------------------------------------------------------------------------------------


def played(agent: Any, kwargs: dict[str, Any], deadline_s: float = 2.0) -> list[Trajectory]:
    starts = [(Problem(CHAOS, i, {"split": "train"}), i) for i in range(4)]
    limits = Limits(step_deadline_s=deadline_s)
    return asyncio.run(play_all(Worlds(per_env={CHAOS: kwargs}), agent, starts, limits=limits))


def test_an_expert_that_breaks_or_hangs_costs_its_episode():
    assert {t.failure and t.failure.detail for t in played(ExpertAgent(), chaos("expert"))} == {
        "the environment's expert did not answer within 2 s"
    }
    broken = played(ExpertAgent(), {"env_id": "turnwise/Arithmetic-v0", "where": ("expert",), "crash": 1.0})
    assert {t.failure and t.failure.family for t in broken} <= {Family.TASK, Family.TIMEOUT}, "it may raise TimeoutError itself"
    assert all(t.outcome == 1 for t in played(ExpertAgent(), {"env_id": "turnwise/Arithmetic-v0"}, deadline_s=60.0))


def test_a_teacher_that_hangs_costs_its_episode_and_its_own_mistake_is_raised():
    gate = threading.Event()

    def stuck(env: Any, rng: Any) -> str:
        gate.wait()
        return ""

    def wrong(env: Any, rng: Any) -> str:
        raise ZeroDivisionError("a bug of the teacher's author")

    try:
        assert {t.failure and t.failure.kind for t in played(Teacher(stuck), chaos())} == {"timeout"}
    finally:
        gate.set()
    with pytest.raises(ZeroDivisionError):
        played(Teacher(wrong), chaos())


def test_an_environment_without_an_expert_is_the_callers_mistake():
    class Plain(gymnasium.Env[Any, Any]):
        pass

    moment = Moment(Plain(), "", "user", None, (), 0, "s")
    with pytest.raises(Unsupported, match="Plain has no expert_action"):
        asyncio.run(ExpertAgent().reply(moment))


# --- whole runs -------------------------------------------------------------------------------------------------------------


def test_a_worker_of_a_cluster_goes_on_too():
    """What a Ray actor does, in this process: a group and single episodes, in environments whose every call may hang."""
    where = ("make", "reset", "step", "fork", "close")
    choice = EnvChoice(id=CHAOS, kwargs=chaos(*where, rate=0.2, transient=True))
    policy = Scratch(hidden=8, layers=1, heads=1, mlp=8, vocabulary=320, context=512)
    recipe = Recipe(env=(choice,), policy=policy, rollout=Tree(), max_new_tokens=4, step_deadline_s=0.5, threads=1)
    model, tokenizer = policy.build(["what is one and one"] * 4, 0)

    async def story() -> list[Done]:
        host = WorkerHost(recipe)
        await host.build(emptied(model), packed(model.state_dict()), 4)
        await host.hire(tokenizer, None, 1)
        jobs = [Job(i, Problem(CHAOS, i, {"split": "train"}), flat(()), i, single=i > 2) for i in range(5)]
        done = [message async for message in host.play(0, jobs) if isinstance(message, Done)]
        await host.close()
        return done

    done = asyncio.run(asyncio.wait_for(story(), 240))
    assert sorted(one.key for one in done) == list(range(5))
    ends = [t for one in done for t in grown(one.rows)]
    assert all(len(one.ended) == len(grown(one.rows)) for one in done)
    assert {t.failure.family for t in ends if t.failure} == {Family.TIMEOUT}


KWARGS = '{{ env_id = "turnwise/Arithmetic-v0", hang = 0.1, transient = true, where = {} }}'
RUN = """
env = {{ id = "turnwise/Chaos-v0", kwargs = {kwargs} }}
rollout = {{ name = "restart", size = 4 }}
steps = 2
tasks_per_step = 2
min_survivors = 1
max_new_tokens = 8
step_deadline_s = 1.0
threads = 1
[policy]
hidden = 16
layers = 1
heads = 2
mlp = 16
vocabulary = 320
[warm_start]
demonstrations = 12
epochs = 1
[evaluate]
tasks = 0
"""


def test_a_run_in_which_everything_hangs_now_and_then_ends_and_so_does_its_process(tmp_path: Path):
    """Demonstrations and RL; some threads hang for ever, and nobody joins them."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RUN.format(kwargs=KWARGS.format(list(NAMES))))
    code = (  # an import is no part of a constructor that should hang
        "import sys, turnwise.envs.math.arithmetic, turnwise.cli; sys.exit(turnwise.cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "train", str(recipe), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    ends = [e for e in events if e["event"] == "ended"]
    assert len([e for e in events if e["event"] == "admitted"]) == 2
    assert len(ends) == len(read_trajectories(tmp_path / "run" / "trajectories.jsonl")) >= 2 * 2
    assert {e["how"] for e in ends} <= {"terminated", "truncated", "overlong", "timeout"}
