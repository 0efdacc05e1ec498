"""Whole runs with reward shapers: every recipe of theirs a few steps, and a resume that no bit can tell."""

import asyncio
import io
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from rich.console import Console

from turnwise.agents.store import read_trajectories
from turnwise.envs.core import Transition, TurnEnv
from turnwise.trainers.advantages.istar import IStar
from turnwise.trainers.checkpoint import latest
from turnwise.trainers.logbook import read_metrics
from turnwise.trainers.optimizers import AdamW
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import EnvChoice, Evaluate, Recipe, dump, load, loads
from turnwise.trainers.rewards.gdpo import GDPO
from turnwise.trainers.rewards.implicit_prm import ImplicitPRM
from turnwise.trainers.rewards.information_gain import InformationGain
from turnwise.trainers.rewards.progressive import Progressive
from turnwise.trainers.rewards.weighted import Weighted
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.run import run
from turnwise.types import Task

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = [
    *(
        "steps=2",
        "tasks_per_step=2",
        "policy.hidden=24",
        "policy.layers=1",
        "policy.heads=2",
        "policy.mlp=32",
        "evaluate.tasks=0",
    ),
    *("warm_start.demonstrations=60", "warm_start.batch_size=8", "rollout.size=4", "max_turns=4"),
]


def carry_out(recipe: Recipe, out: Path, **kwargs: Any) -> str:
    printed = io.StringIO()
    asyncio.run(run(recipe, out, console=Console(file=printed, width=160), **kwargs))
    return printed.getvalue()


@pytest.mark.parametrize(
    ("name", "terms", "needs"),
    [
        ("igpo", {"information_gain"}, set()),
        ("rlvmr", set(), set()),
        ("istar", {"implicit_prm"}, {"prm_pairs"}),
        ("prs_vspo", {"progressive_format"}, {"progressive_stage"}),
        ("ufo", {"unary_decay", "unary_repetition"}, set()),
    ],
)
def test_every_recipe_runs(name: str, terms: set[str], needs: set[str], tmp_path: Path):
    recipe = load(RECIPES / f"{name}.toml", SMALL)
    assert loads(dump(recipe)) == recipe, "the file in the run's folder is the whole recipe"
    carry_out(recipe, tmp_path / "run")
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert len(lines) == 2
    for line in lines:
        assert needs | {f"reward/{term}" for term in terms} <= line.keys()
        assert name != "rlvmr" or any(key.startswith("reward/meta_") for key in line)
        assert all(math.isfinite(value) for value in line.values()) and line["failures"] == 0
    for trajectory in read_trajectories(tmp_path / "run" / "trajectories.jsonl"):
        for turn in trajectory.turns:
            assert turn.reward == pytest.approx(sum(turn.reward_terms.values()), abs=1e-6)
    if name in ("igpo", "istar"):  # dense rewards: there is something to learn from without a success
        assert any(line["advantage_std"] > 0 for line in lines)


class Lucky(TurnEnv):
    """Two replies; solved if the last has an even number of characters, which half of all random text has."""

    levels = range(1, 2)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task(f"lucky-{int(rng.integers(10**6))}", "even?", "ab", difficulty)

    def begin(self, task: Task) -> str:
        return f"{task.id} even?"

    def play(self, action: str) -> Transition:
        won = self.turn == 2 and len(action) % 2 == 0
        return Transition(f"go on {int(self.np_random.integers(10))}", float(won), self.turn == 2, float(won))

    def expert_action(self) -> str:
        return "ab"


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    gymnasium.register("spine/Lucky-v0", entry_point=Lucky)
    yield
    gymnasium.registry.pop("spine/Lucky-v0")


TINY = Recipe(
    env=(EnvChoice(id="spine/Lucky-v0"),),
    policy=Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=300, context=128),
    rollout=Independent(size=4),
    rewards=(
        InformationGain(),
        ImplicitPRM(optimizer=AdamW(lr=1e-2)),
        Progressive(tool=0.0, unlock=0.01, memory=0.5),
        Weighted(weights={"information_gain": 0.5}, until={"information_gain": 0.1}),
        GDPO(weights={"implicit_prm": 2.0}),
    ),
    advantage=IStar(),
    optimizer=AdamW(lr=1e-2),
    evaluate=Evaluate(tasks=0),
    steps=4,
    tasks_per_step=3,
    max_new_tokens=4,
    checkpoint_every=2,
    threads=1,
)


def state(out: Path) -> Any:
    return torch.load(latest(out / "checkpoints") / "trainer.pt", weights_only=True)


def assert_same(a: Any, b: Any) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def test_four_steps_are_two_and_two(tmp_path: Path):
    """With shapers that score, learn, keep stages and change their weights over the run: all of it comes back."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    carry_out(TINY, whole)
    shutil.copytree(whole, broken)
    shutil.rmtree(broken / "checkpoints" / "step-4")
    (broken / "checkpoints" / "latest").write_text("step-2")
    assert "resumed from step-2" in carry_out(TINY, broken, resume=True)
    assert (broken / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert_same(state(broken)["weights"], state(whole)["weights"])
    assert_same(state(broken)["rewards"], state(whole)["rewards"])
    lines = read_metrics(whole / "metrics.jsonl")
    assert sum(line["prm_pairs"] for line in lines) > 0 and lines[-1]["progressive_stage"] > 1, "there was something to lose"
    assert [bool(own) for own in state(whole)["rewards"]] == [False, True, True, False, False]


def test_a_shaper_with_a_state_changes_what_is_trained(tmp_path: Path):
    """The same run with phi kept as it began: the terms of later steps differ, so phi did learn in the run above."""
    carry_out(replace(TINY, steps=3), tmp_path / "learns")
    still = replace(TINY, steps=3, rewards=(TINY.rewards[0], ImplicitPRM(success=2.0), *TINY.rewards[2:]))
    carry_out(still, tmp_path / "still")
    a, b = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("learns", "still"))
    assert a[0]["reward/information_gain"] == b[0]["reward/information_gain"]
    assert a[-1]["reward/implicit_prm"] != b[-1]["reward/implicit_prm"] and all(line["prm_pairs"] == 0 for line in b)
