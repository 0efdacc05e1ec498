"""A whole run whose learner is two ranks, one of which is killed: the same files as a run in which nobody died."""

import asyncio
import io
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tests.trainers.test_sharded import gap
from turnwise.trainers import run as running
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.cluster.learner import RayLearner
from turnwise.trainers.cluster.resources import connected
from turnwise.trainers.cluster.settings import Cluster
from turnwise.trainers.critic import Critic
from turnwise.trainers.live import Live
from turnwise.trainers.logbook import read_metrics
from turnwise.trainers.optimizers import AdamW
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import EnvChoice, Evaluate, Recipe
from turnwise.trainers.rewards.invalid_action import InvalidAction
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.sync import Probe

pytest.importorskip("ray")

RECIPE = Recipe(
    env=(EnvChoice(id="turnwise/Lookup-v0", difficulty=(1,), kwargs={"style": "terse", "instructions": False, "max_turns": 2}),),
    policy=Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=300, context=256),
    rollout=Independent(size=4),
    optimizer=AdamW(lr=1e-2),
    rewards=(InvalidAction(),),
    advantage=TurnGAE(),
    critic=Critic(),
    kl=0.01,
    tasks_per_step=2,
    steps=3,
    max_new_tokens=8,
    checkpoint_every=1,
    threads=1,
    probe=Probe(tensors_every=1),
    evaluate=Evaluate(tasks=0),
    cluster=Cluster(address="local", workers=1, engines=0, learners=2),
)


def carried_out(out: Path, said: Any, recipe: Recipe = RECIPE) -> list[dict[str, Any]]:
    asyncio.run(running.run(recipe, out, console=Console(file=said, width=300)))
    return read_metrics(out / "metrics.jsonl")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def saved(out: Path, step: int = 3) -> dict[str, Any]:
    return torch.load(out / "checkpoints" / f"step-{step}" / "trainer.pt", weights_only=True)


def test_a_run_whose_rank_is_killed_leaves_what_it_would_have_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = running._learner
    learners: list[Any] = []

    def killing(live: Live) -> Any:
        learner = made(live)
        assert isinstance(learner, RayLearner)
        learners.append(learner)
        update = learner.update

        def fatal(*given: Any) -> Any:
            if learner is learners[0] and learner.version == 1:
                os.kill(learner.pids[1], signal.SIGKILL)
            return update(*given)

        learner.update = fatal
        return learner

    with connected("local", print):
        plain = carried_out(tmp_path / "plain", io.StringIO())
        said = io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(running, "_learner", killing)
            assert carried_out(tmp_path / "killed", said) == plain and len(learners) == 2
    assert "the learner died (rank: rank 1 of 2" in said.getvalue() and "resumed from step-1" in said.getvalue()
    assert files(tmp_path / "killed" / "model") == files(tmp_path / "plain" / "model")
    assert any(row["grad_norm"] > 0 for row in plain), "something was learned"

    one, other = saved(tmp_path / "plain"), saved(tmp_path / "killed")
    assert gap(one["weights"], other["weights"]) == 0.0 and gap(one["learner"], other["learner"]) == 0.0

    carried_out(tmp_path / "local", io.StringIO(), replace(RECIPE, cluster=Cluster()))
    assert files(tmp_path / "local" / "model").keys() == files(tmp_path / "plain" / "model").keys()
    first, same = saved(tmp_path / "local", 1)["learner"], saved(tmp_path / "plain", 1)["learner"]
    assert first.keys() == same.keys() and first["version"] == same["version"] == 1
    moments = [{i: slots["exp_avg"] for i, slots in state["optimizers"][0]["state"].items()} for state in (first, same)]
    assert gap(*moments) < 1e-5 < gap(moments[0], {i: m * 0 for i, m in moments[0].items()}), "the gradient of one process"
