"""What methods learn from equal starts with equal budgets: every recipe in every arena, seed by seed.

    python benchmarks/evidence.py --minutes 60          # goes on where it was left; a run is one small JSON
    python benchmarks/evidence.py --only long/igpo      # runs whose name has that in it
    python benchmarks/evidence.py --table               # writes docs/evidence.md from what is there

All methods start from one warm-started model (arena, seed) and may spend equally many sampled tokens and tool calls; nothing is
bounded by time. Warm-starts are kept in runs/evidence, results in benchmarks/results/evidence.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from evidence_arenas import ARENAS, METHODS, Arena, Method
from evidence_table import CURVE, write

from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Limits
from turnwise.agents.evaluate import starts
from turnwise.agents.worlds import Worlds, play_all
from turnwise.seeds import child
from turnwise.trainers.checkpoint import write_model
from turnwise.trainers.learner import LocalLearner
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.trainers.policies.pretrained import Pretrained
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.recipe import Recipe, load
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.run import update_of
from turnwise.trainers.sft import SFT, Teacher, encode, texts
from turnwise.trainers.tagged import Tagged
from turnwise.trainers.trainer import train
from turnwise.types import Spent, Trajectory

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "evidence"
WARM = HERE.parent / "runs" / "evidence"
VOCABULARY = 1024
POINTS = 6
"""Points of a learning curve after the start, at equal shares of the budget."""
FINAL_TASKS = 256
LOGGED = ("groups_zero_variance", "reward_std", "entropy", "turns", "advantage_zero", "grad_norm", "invalid_actions")


# --- where all methods start ----------------------------------------------------------------------------------------


async def warm_start(arena: Arena, seed: int, tagged: bool, folder: Path) -> None:
    """Train a model from nothing on the novice's episodes and write it to `folder`."""
    worlds = Worlds(per_env={arena.env.id: arena.env.kwargs})
    module, _, function = arena.teacher.partition(":")
    teacher = Teacher(getattr(import_module(module), function))
    sampler = Recipe(env=(arena.env,)).sampler
    state = sampler.start([(arena.env.id, 1.0, arena.shown or arena.env.difficulty)])
    problems = sampler.ask(state, arena.demonstrations, np.random.default_rng(child(seed, "demos")))
    seeded = [(problem, child(seed, "teacher", i)) for i, problem in enumerate(problems)]
    try:
        shown = await play_all(worlds, Tagged(teacher) if tagged else teacher, seeded, limits=Limits())
    finally:
        await worlds.close()
    model, tokenizer = Scratch(vocabulary=VOCABULARY, context=arena.context).build(texts(shown), child(seed, "policy"))
    sft = SFT(epochs=1.0, batch_size=16, optimizer=MuonAdamW(lr=0.02, adam_lr=1e-2))
    rows = sft.rows([encode(t, ChatTemplate(cast(Any, tokenizer))) for t in shown])
    for _ in sft.train(model, rows, child(seed, "sft")):
        pass
    part = folder.with_suffix(f".{os.getpid()}.part")
    write_model(part, model, tokenizer)
    os.replace(part, folder)


def start_of(arena: str, seed: int, tagged: bool) -> Path:
    """The folder of the warm-started model; made if it is not there."""
    folder = WARM / f"{arena}-{'tagged-' if tagged else ''}{seed}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        asyncio.run(warm_start(ARENAS[arena], seed, tagged, folder))
    return folder


# --- one run --------------------------------------------------------------------------------------------------------


def recipe_of(method: Method, arena: Arena, seed: int, start: Path) -> Recipe:
    """The method's recipe, played in the arena."""
    recipe = load(HERE.parent / "recipes" / f"{method.recipe}.toml", method.overrides)
    return replace(
        recipe,
        env=(arena.env,),
        policy=Pretrained(path=str(start)),
        warm_start=None,
        optimizer=AdamW(lr=arena.lr),
        seed=seed,
        steps=100_000,
        decay=0.0,
        tasks_per_step=max(1, arena.episodes // recipe.rollout.size),
        max_new_tokens=max(arena.max_new_tokens, recipe.max_new_tokens),
        max_tokens=1024,
        threads=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Held-out success at one moment of a run."""

    tokens: int
    """Sampled so far."""
    tool_calls: int
    steps: int
    right: int
    tasks: int


class Run:
    """The live parts of one run."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.worlds = Worlds(per_env={choice.id: choice.kwargs for choice in recipe.env})
        self.model, tokenizer = recipe.policy.build((), 0)
        self.template = ChatTemplate(cast(Any, tokenizer))
        self.engine = TorchEngine(self.model, max_batch=recipe.concurrency)
        sampling = Sampling(max_tokens=recipe.max_new_tokens, temperature=recipe.temperature)
        self.agent = ModelAgent(self.engine, self.template, sampling, recipe.max_context)

    async def held_out(self, tasks: int) -> list[Trajectory]:
        choice = self.recipe.env[0]
        seed = child(self.recipe.seed, "held-out")
        problems = starts(choice.id, tasks=tasks, samples=1, split="test", difficulty=choice.difficulty, seed=seed)
        return await play_all(self.worlds, self.agent, problems, limits=Limits(), concurrency=self.recipe.concurrency)

    async def point(self, spent: Spent, steps: int, tasks: int) -> Point:
        played = await self.held_out(tasks)
        right = sum(t.outcome >= 1 for t in played)
        return Point(tokens=spent.tokens, tool_calls=spent.tool_calls, steps=steps, right=right, tasks=len(played))

    async def beginning(self) -> Point:
        """The point before RL, which is the same for all methods: kept beside the model."""
        kept = Path(cast(Pretrained, self.recipe.policy).path) / "held_out.json"
        if not kept.is_file():
            kept.write_text(json.dumps(asdict(await self.point(Spent(), 0, FINAL_TASKS))))
        return Point(**json.loads(kept.read_text()))

    async def train(self, tokens: int, tool_calls: int) -> tuple[list[Point], list[dict[str, float]]]:
        """Until either is spent; the curve, and what the steps logged, averaged between its points."""
        recipe = self.recipe
        learner = LocalLearner(
            self.model, update_of(recipe), temperature=recipe.temperature, critic=recipe.critic, seed=recipe.seed
        )
        pool = LocalPool(
            *(self.worlds, self.agent, recipe.rollout),
            limits=replace(Limits(), max_turns=recipe.max_turns),
            budget=recipe.budget,
            concurrency=recipe.concurrency,
        )
        scene = Scene(engine=self.engine, template=self.template, policy=self.model)
        sampler = recipe.sampler.start([(c.id, c.weight, c.difficulty) for c in recipe.env])
        points = [await self.beginning()]
        spent, logs, recent = Spent(), list[dict[str, float]](), list[dict[str, float]]()
        async for step in train(recipe, pool, learner, self.engine, sampler, scene=scene):
            for group in step.groups:
                spent += group.spent
            recent.append(step.metrics)
            share = max(spent.tokens / tokens, spent.tool_calls / tool_calls)
            if share < 1 and share * POINTS < len(points):
                continue
            points.append(await self.point(spent, step.index + 1, FINAL_TASKS if share >= 1 else CURVE))
            logs.append({n: sum(m.get(n, 0.0) for m in recent) / len(recent) for n in LOGGED if n in recent[-1]})
            recent = []
            if share >= 1:
                break
        return points, logs


async def carried_out(recipe: Recipe, tokens: int, tool_calls: int) -> dict[str, Any]:
    run = Run(recipe)
    try:
        points, logs = await run.train(tokens, tool_calls)
    finally:
        await run.worlds.close()
    return {"points": [asdict(p) for p in points], "logs": logs}


def result(name: str) -> dict[str, Any]:
    """Carry out the run ARENA/METHOD/SEED."""
    arena_name, method_name, seed = name.split("/")
    arena, method = ARENAS[arena_name], METHODS[method_name]
    tagged = load(HERE.parent / "recipes" / f"{method.recipe}.toml").warm_start
    start = start_of(arena_name, int(seed), tagged is not None and tagged.tagged)
    recipe = recipe_of(method, arena, int(seed), start)
    began = time.process_time()
    done = asyncio.run(carried_out(recipe, arena.tokens, round(arena.tool_calls * method.calls)))
    seconds = round(time.process_time() - began)
    return {"arena": arena_name, "method": method_name, "seed": int(seed), "lr": arena.lr, "cpu_seconds": seconds, **done}


def runs(arguments: argparse.Namespace) -> list[str]:
    """Names of the runs that are wanted and not there; the share of this job. Runs with one warm-start fall to one job."""
    names = [
        f"{arena}/{method}/{seed}"
        for at, (seed, arena) in enumerate((seed, arena) for seed in range(arguments.seeds) for arena in ARENAS)
        if at % arguments.jobs == arguments.job
        for method in METHODS
        if arena in METHODS[method].arenas or not METHODS[method].arenas
    ]
    return [
        name
        for name in names
        if not file_of(name).exists() and (not arguments.only or any(part in name for part in arguments.only))
    ]


def file_of(name: str) -> Path:
    return RESULTS / f"{name.replace('/', '-')}.json"


def shown(name: str, record: dict[str, Any]) -> str:
    """A line about a run."""
    curve = " ".join(f"{p['right'] / p['tasks']:.2f}" for p in record["points"])
    last = record["points"][-1]
    spent = (
        f"{last['tokens']} tokens, {last['tool_calls']} tool calls, {last['steps']} steps, {record['cpu_seconds']} CPU seconds"
    )
    return f"{name}: {curve} ({spent})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="part of a run's name (arena/method/seed); again for more")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after so many")
    parser.add_argument("--jobs", type=int, default=1, help="into how many processes the runs are divided; start each yourself")
    parser.add_argument("--job", type=int, default=0, help="which of them this one is")
    parser.add_argument("--table", action="store_true", help="write docs/evidence.md and run nothing")
    arguments = parser.parse_args()
    if arguments.table:
        write(RESULTS, HERE.parent / "docs" / "evidence.md")
        return
    torch.set_num_threads(1)
    RESULTS.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * arguments.minutes
    for name in runs(arguments):
        if time.monotonic() > end:
            break
        record = result(name)
        file_of(name).write_text(json.dumps(record) + "\n")
        print(shown(name, record), flush=True)


if __name__ == "__main__":
    main()
