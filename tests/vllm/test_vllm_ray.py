"""vLLM in a Ray actor, on a cluster of two nodes: its weights are the learner's, and its death leaves nothing behind."""

import asyncio
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from tests.two_nodes import two_nodes
from turnwise.trainers.cluster.settings import Cluster
from turnwise.trainers.engines.vllm import Vllm
from turnwise.trainers.logbook import read_metrics
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import EnvChoice, Evaluate, Recipe
from turnwise.trainers.recording import read_events
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.run import run
from turnwise.trainers.sync import Probe

FULL = pytest.mark.skipif(os.environ.get("TURNWISE_FULL") != "1", reason="a second vLLM has to start; TURNWISE_FULL=1 runs it")
RECIPE = Recipe(
    env=(EnvChoice(id="turnwise/Lookup-v0", difficulty=(1,), kwargs={"style": "terse", "instructions": False, "max_turns": 4}),),
    policy=Scratch(hidden=64, layers=1, heads=2, mlp=64, vocabulary=300, context=256),
    engine=Vllm(max_num_seqs=32),
    rollout=Independent(size=4),
    tasks_per_step=2,
    steps=3,
    max_new_tokens=12,
    threads=1,
    probe=Probe(tensors_every=1),
    evaluate=Evaluate(tasks=0),
    cluster=Cluster(address="auto", workers=1, engines=1),
)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """vLLM's processes are gone with it as well."""
    with two_nodes() as nodes:
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        yield


def engines() -> list[psutil.Process]:
    """Actors of ours that hold an engine."""
    below = psutil.Process().children(recursive=True)
    return [p for p in below if p.status() != psutil.STATUS_ZOMBIE and p.cmdline()[:1] and "EngineHost" in p.cmdline()[0]]


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("kills", [False, pytest.param(True, marks=FULL)])
def test_vllm_in_an_actor_learns_and_is_replaced_when_it_is_killed(tmp_path: Path, kills: bool) -> None:
    """Probe and tensors are compared at every sync, so a run that ends had the learner's weights in its engine; one that is
    killed after the first step is replaced by another with the present weights."""
    said = io.StringIO()
    killed: list[psutil.Process] = []

    async def kill() -> None:
        while not (tmp_path / "run" / "metrics.jsonl").is_file() or not read_metrics(tmp_path / "run" / "metrics.jsonl"):
            await asyncio.sleep(0.05)
        (engine,) = engines()
        killed.extend([engine, *engine.children(recursive=True)])
        os.kill(engine.pid, signal.SIGKILL)

    async def story() -> None:
        killing = asyncio.create_task(kill()) if kills else None
        await run(RECIPE, tmp_path / "run", console=Console(file=said, width=200))
        if killing is not None:
            await killing

    asyncio.run(asyncio.wait_for(story(), 900))
    metrics = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert len(metrics) == 3 and all(m["sync/probe_difference"] < 1e-4 and m["sync/bytes"] > 0 for m in metrics)
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    assert [e["what"] for e in events if e["event"] == "lost"] == ["engine"] * kills, said.getvalue()
    assert len([e for e in events if e["event"] == "ended"]) == 3 * 2 * 4
    assert bool(killed) == kills and len(killed) != 1, "vLLM computes in a process of its own"
    _, alive = psutil.wait_procs(killed, timeout=60)
    assert not alive, f"outlived the actor that was killed: {alive}"
