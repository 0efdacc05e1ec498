"""Whole runs on a Ray cluster of two nodes, whose processes are killed: every episode is accounted for, nothing else changes.

The embedded engine with one sequence at a time computes the same bits whoever asks for them and when: so runs can be compared to
the last bit however work is shared out and played again. One worker that has its engine beside it does so with any batches.
"""

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from tests.two_nodes import NODE, two_nodes
from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Problem
from turnwise.errors import EngineFailure, InfraError
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.cluster.crew import Crew
from turnwise.trainers.cluster.fleet import Fleet
from turnwise.trainers.cluster.parcels import store
from turnwise.trainers.cluster.resources import connected
from turnwise.trainers.cluster.settings import Cluster
from turnwise.trainers.critic import Critic
from turnwise.trainers.engines.torch import Torch
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.live import limits_of, sampling_of, worlds_of
from turnwise.trainers.logbook import read_metrics
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.recipe import EnvChoice, Evaluate, Recipe
from turnwise.trainers.recording import read_events
from turnwise.trainers.replay import comparable, recorded_steps, replay
from turnwise.trainers.rewards.invalid_action import InvalidAction
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.run import run
from turnwise.trainers.sync import Probe, sync
from turnwise.types import Group, Trajectory

ray = pytest.importorskip("ray", reason="needs the extra ray")

DEADLINE_S = 240.0
WHAT = {"WorkerHost": "worker", "EngineHost": "engine"}

RECIPE = Recipe(
    env=(EnvChoice(id="turnwise/Lookup-v0", difficulty=(1,), kwargs={"style": "terse", "instructions": False, "max_turns": 4}),),
    policy=Scratch(hidden=32, layers=1, heads=2, mlp=64, vocabulary=300, context=256),
    engine=Torch(max_batch=1),
    rollout=Independent(size=4),
    rewards=(InvalidAction(),),
    advantage=TurnGAE(),
    critic=Critic(),
    tasks_per_step=4,
    steps=3,
    max_new_tokens=24,
    threads=1,
    probe=Probe(tensors_every=1),
    evaluate=Evaluate(tasks=4, every=2, curve_tasks=4),
)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    with two_nodes() as nodes:
        yield nodes


@pytest.fixture
def address(nodes: Any) -> str:
    return nodes.address


def actors(name: str, below: psutil.Process | None = None) -> list[psutil.Process]:
    """Processes of our actors that run here, the oldest first; `below` is a node's raylet."""
    found: list[psutil.Process] = []
    for process in (below or psutil.Process()).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if " ".join(process.cmdline()).startswith(f"ray::{name}"):
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


async def begun(events: Path, step: int) -> None:
    """Returns as soon as the batch of `step` is being played."""
    while not (events.is_file() and any(e["event"] == "admitted" and e["step"] >= step for e in read_events(events))):
        await asyncio.sleep(0.005)


async def killed(events: Path, step: int, name: str, times: int = 1) -> list[int]:
    """As soon as the batch of `step` is begun, and again when the next process stands in: kill -9 of the oldest."""
    pids: list[int] = []
    async with asyncio.timeout(DEADLINE_S):
        await begun(events, step)
        while len(pids) < times:
            victims = [process.pid for process in actors(name) if process.pid not in pids]
            if victims and sum(e.get("what") == WHAT[name] for e in read_events(events)) == len(pids):
                os.kill(victims[0], signal.SIGKILL)
                pids.append(victims[0])
            await asyncio.sleep(0.005)
    return pids


async def unplugged(events: Path, step: int, nodes: Any, gone: list[psutil.Process]) -> None:
    """As soon as the batch of `step` is begun: a node that is not the head's, on which somebody works, ends by kill -9. `gone`
    learns who worked there."""
    async with asyncio.timeout(DEADLINE_S):
        await begun(events, step)
        while not gone:
            await asyncio.sleep(0.005)
            for node in nodes.worker_nodes:
                (raylet,) = node.all_processes["raylet"]
                gone += actors("WorkerHost", psutil.Process(raylet.process.pid))
                if gone:
                    break
        await asyncio.to_thread(nodes.remove_node, node, allow_graceful=False)


def go(out: Path, cluster: Cluster, *kills: tuple[Any, ...], how: Callable[..., Any] = killed, **changes: Any) -> str:
    """A run of the recipe, with kills on the way; what it said."""
    said = io.StringIO()

    async def both() -> None:
        recipe = replace(RECIPE, cluster=cluster, **changes)
        async with asyncio.TaskGroup() as tasks:
            for kill in kills:
                tasks.create_task(how(out / "events.jsonl", *kill))
            tasks.create_task(run(recipe, out, console=Console(file=said, width=200)))

    asyncio.run(both())
    assert actors("WorkerHost") == actors("EngineHost") == [], "actors of a run end with it"
    return said.getvalue()


def metrics(out: Path) -> list[dict[str, Any]]:
    """Without the bytes of a sync: an engine in the trainer's own process is given none."""
    return [comparable(line, without=("sync/bytes",)) for line in read_metrics(out / "metrics.jsonl")]


def sampled(out: Path) -> list[Any]:
    """Every token of every episode."""
    steps = recorded_steps(out).values()
    return [[turn.action_ids for turn in t.turns] for groups in steps for group in groups for t in group.trajectories]


def accounted(out: Path) -> Counter[str]:
    """Deaths by kind; every admitted episode must have exactly one end."""
    events = list(read_events(out / "events.jsonl"))
    admitted = Counter((p["env_id"], p["seed"]) for e in events if e["event"] == "admitted" for p in e["problems"])
    ended = Counter((e["env_id"], e["seed"]) for e in events if e["event"] == "ended")
    assert ended == Counter({key: count * RECIPE.rollout.size for key, count in admitted.items()})
    assert len(admitted) == RECIPE.steps * RECIPE.tasks_per_step
    return Counter(e["what"] for e in events if e["event"] == "lost")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one process that the others must equal."""
    out = tmp_path_factory.mktemp("plain") / "run"
    go(out, Cluster())
    assert any(line["grad_norm"] > 0 for line in metrics(out)), "something must be learned, or equality says nothing"
    return out


def test_one_worker_with_its_engine_is_the_run_in_one_process_bit_for_bit(address: str, tmp_path: Path) -> None:
    """Ordinary batches: the requests meet in the engine as they do without Ray."""
    go(tmp_path / "plain", Cluster(), engine=Torch())
    go(tmp_path / "ray", Cluster(address=address, workers=1, engines=0), engine=Torch())
    assert metrics(tmp_path / "ray") == metrics(tmp_path / "plain")
    assert (tmp_path / "ray" / "results.json").read_text().split('"seconds"')[0] == (
        (tmp_path / "plain" / "results.json").read_text().split('"seconds"')[0]
    )
    assert accounted(tmp_path / "ray") == {}
    assert asyncio.run(replay(tmp_path / "ray")).equal


def test_killed_workers_are_replaced_and_change_nothing(address: str, tmp_path: Path, plain: Path) -> None:
    out = tmp_path / "run"
    said = go(out, Cluster(address=address, workers=2, engines=0), (1, "WorkerHost", 2))
    assert accounted(out) == {"worker": 2}
    assert "played again elsewhere" in said and "worker" in said
    assert sampled(out) == sampled(plain)
    assert metrics(out) == metrics(plain)


def test_a_killed_engine_is_replaced_with_the_present_weights(address: str, tmp_path: Path, plain: Path) -> None:
    """And a worker with it. Conversations that were under way are computed again from their beginning: the same tokens."""
    out = tmp_path / "run"
    kills = [(1, "EngineHost", 1), (1, "WorkerHost", 1)]
    said = go(out, Cluster(address=address, workers=2, engines=2), *kills)
    assert accounted(out) == {"worker": 1, "engine": 1} and "engine" in said
    assert sampled(out) == sampled(plain)
    for here, there in zip(metrics(out), metrics(plain), strict=True):
        assert here == pytest.approx(there, rel=1e-3, abs=1e-4)


def test_a_node_that_dies_takes_its_workers_along_and_changes_nothing(nodes: Any, tmp_path: Path, plain: Path) -> None:
    """One of two machines is switched off in the middle of a batch; its workers are made again on the other one. Until Ray knows
    that the machine is gone it may still place somebody there, who is lost as well."""
    out, gone = tmp_path / "run", list[psutil.Process]()
    try:
        said = go(out, Cluster(address=nodes.address, workers=2, engines=0), (1, nodes, gone), how=unplugged)
    finally:
        if not nodes.worker_nodes:
            nodes.add_node(**NODE)
    assert not psutil.wait_procs(gone, timeout=120)[1], "nobody works on a dead node"
    lost = accounted(out)
    assert set(lost) == {"worker"} and lost["worker"] >= len(gone) and "played again elsewhere" in said
    assert sampled(out) == sampled(plain)
    assert metrics(out) == metrics(plain)


def test_environments_that_hang_cost_their_deadline_in_actors_too(address: str, tmp_path: Path) -> None:
    """Any call may hang for ever. No worker is lost over it, and they end with the run although their threads do not."""
    kwargs = {"env_id": "turnwise/Arithmetic-v0", "where": ("make", "reset", "step", "close"), "hang": 0.1, "transient": True}
    env = EnvChoice(id="turnwise/Chaos-v0", kwargs=kwargs)
    out, cluster = tmp_path / "run", Cluster(address=address, workers=2, engines=0)
    go(out, cluster, env=(env,), step_deadline_s=2.0, min_survivors=1, evaluate=Evaluate(tasks=0))
    assert accounted(out) == {}
    ways = Counter(e["how"] for e in read_events(out / "events.jsonl") if e["event"] == "ended")
    assert ways["timeout"] > 0 and set(ways) - {"timeout"} and set(ways) <= {"terminated", "truncated", "overlong", "timeout"}


# --- the pieces, in real actors -------------------------------------------------------------------------------------------


def test_the_probe_finds_one_disturbed_replica_and_a_stopped_worker_is_replaced(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers with engines of their own. First a parameter of the second is disturbed behind the sync's back; then the first
    is stopped, which no connection notices, and its groups are played by others: as one process plays them, to the last bit."""
    recipe = replace(RECIPE, cluster=Cluster(address="auto", workers=2, engines=0, silence_s=20.0))
    model, tokenizer = recipe.policy.build((), 3)
    learner = LocalLearner(model, Update())
    problems = [Problem("turnwise/Lookup-v0", seed, {"difficulty": 1}) for seed in range(4)]
    said: list[str] = []
    ended: list[Trajectory] = []

    async def disturbed(fleet: Fleet) -> None:
        take = fleet.engine._take
        name = next(n for n, _ in model.named_parameters() if n.endswith("model.norm.weight"))

        async def wrong(index: int, stored: Any, version: int) -> float:
            if index == 1:
                other = {n: 100 * t if n == name else t for n, t in model.state_dict().items()}
                stored = store(other)
            return await take(index, stored, version)

        with monkeypatch.context() as patch:
            patch.setattr(fleet.engine, "_take", wrong)
            with pytest.raises(EngineFailure, match=name.replace(".", r"\.")):
                await sync(fleet.engine, learner, Probe(tensors_every=0))
        found = await sync(fleet.engine, learner, Probe(tensors_every=1))
        assert found.metrics["sync/bytes"] == sum(p.numel() * p.element_size() for p in model.parameters())
        assert found.metrics["sync/probe_difference"] == 0.0 and set(found.seconds) == {"sync", "sync_paused"}

    async def story() -> list[Group]:
        fleet = Fleet(recipe, model, tokenizer, said.append)
        try:
            await fleet.start()
            await disturbed(fleet)
            os.kill(await fleet.workers.seats[0].pid.remote(), signal.SIGSTOP)
            groups = await asyncio.wait_for(fleet.pool(ended.append).collect(problems, 7), DEADLINE_S)
            assert fleet.lost["worker"] >= 1
            return groups
        finally:
            await fleet.close()

    async def at_home() -> list[Group]:
        agent = ModelAgent(TorchEngine(model, max_batch=1), ChatTemplate(tokenizer), sampling_of(recipe))
        return await LocalPool(worlds_of(recipe), agent, recipe.rollout, limits=limits_of(recipe)).collect(problems, 7)

    with connected("auto", said.append):
        away = asyncio.run(story())
    assert "2 node(s)" in said[0] and any("said nothing for 20 s" in text for text in said), said
    assert told(away) == told(asyncio.run(at_home()))
    assert {id(t) for t in ended} == {id(t) for group in away for t in group.trajectories} and len(ended) == 16


def told(groups: list[Group]) -> list[Any]:
    return [
        [
            (t.task, t.seed, t.stop, [(turn.action_ids, turn.logprobs, turn.entropies, turn.observation) for turn in t.turns])
            for t in group.trajectories
        ]
        for group in groups
    ]


KILLED = """
import os, signal
from turnwise.own_folder import OwnFolder
print(OwnFolder("tw-ray-", "/tmp").path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
"""The folder of a driver that is killed (`resources.connected`), without its cluster, which Ray ends by itself."""


def test_an_actor_that_dies_again_and_again_ends_the_crew_with_its_last_words() -> None:
    """On a local cluster, started for the occasion. Who gets something done in between may die as often as it likes. And a driver
    that was killed before has left the files of its cluster: they are gone when the next one has started."""

    class Light:
        async def begin(self, fatal: bool) -> int:
            if fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return os.getpid()

        async def endure(self) -> None:
            await asyncio.Event().wait()

        async def close(self) -> None:
            pass

    deaths: list[tuple[str, int]] = []

    def crew(fatal: bool) -> Crew:
        async def prepare(index: int, handle: Any) -> None:
            await handle.begin.remote(fatal and index == 1)

        return Crew(
            *("worker", 2),
            create=lambda _: ray.remote(num_cpus=0.1, max_restarts=0)(Light).remote(),
            prepare=prepare,
            seated=lambda _index, _handle: None,
            lost=lambda kind, index, _why: deaths.append((kind, index)),
            restarts=1,
            start_s=DEADLINE_S,
        )

    async def sturdy() -> None:
        some = crew(fatal=False)
        await some.start()
        for death in range(1, 4):
            os.kill(await some.seats[0].begin.remote(False), signal.SIGKILL)
            async with asyncio.timeout(DEADLINE_S):
                while len(deaths) < death or some.seats[0] is None:
                    await asyncio.sleep(0.01)
            some.finished(0)
        assert deaths == [("worker", 0)] * 3 and await some.living() == [0, 1]
        await some.close()
        deaths.clear()

    async def doomed() -> None:
        some = crew(fatal=True)
        try:
            await some.start()
        finally:
            await some.close()

    said: list[str] = []
    left = Path(subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, check=False).stdout.strip())
    assert left.name.startswith("tw-ray-") and left.is_dir()
    with connected("local", said.append):
        assert not left.exists()
        asyncio.run(sturdy())
        with pytest.raises(InfraError, match="worker 1 died 2 times without having finished"):
            asyncio.run(doomed())
    assert deaths == [("worker", 1)] * 2 and said == ["cluster: a local one, for this run"]
    assert not ray.is_initialized()
