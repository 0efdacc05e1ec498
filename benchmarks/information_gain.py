"""Whether information gain tells right turns from wrong ones: gains by kind of turn, before RL.

    python benchmarks/information_gain.py --arena long --seeds 3      # writes benchmarks/results/information_gain.json

The warm-started models of benchmarks/evidence.py play train tasks; nothing is trained. A turn's kind is what its look-up came to:
the answer or a part of it, another name on the way to it, or neither. How often a gain of the first two is above a gain of the
last (ties count half) is the area under the ROC curve: 0.5 says nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, Literal

import numpy as np
import torch
from evidence import Run, recipe_of, start_of
from evidence_arenas import ARENAS, METHODS

from turnwise.agents.episode import Limits, Problem
from turnwise.envs.search.lookup_world import path_of
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.rewards.information_gain import InformationGain
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.rollouts.independent import Independent
from turnwise.types import Group, Task

RESULT = Path(__file__).parent / "results" / "information_gain.json"
FORMS: tuple[Literal["probability", "log_probability"], ...] = ("probability", "log_probability")


async def gains(arena: str, seed: int, tasks: int) -> dict[str, dict[str, list[float]]]:
    """Form -> kind of turn -> gains."""
    run = Run(recipe_of(METHODS["trloo_ig"], ARENAS[arena], seed, start_of(arena, seed, tagged=False)))
    pool = LocalPool(run.worlds, run.agent, Independent(size=8), limits=replace(Limits(), max_turns=run.recipe.max_turns))
    choice = run.recipe.env[0]
    level = choice.difficulty[0]
    try:
        problems = [Problem(choice.id, 1000 * seed + i, {"split": "train", "difficulty": level}) for i in range(tasks)]
        groups = await pool.collect(problems, seed)
        scene = Scene(engine=run.engine, template=run.template, policy=run.model)
        return {form: by_kind(await InformationGain(form=form)(groups, scene)) for form in FORMS}
    finally:
        await run.worlds.close()


def by_kind(groups: Sequence[Group]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for group in groups:
        for trajectory in group.survivors:
            for turn, after in pairwise(trajectory.turns):
                found[kind(group.task, after.observation)].append(turn.reward_terms["information_gain"])
    return found


def kind(task: Task, observation: str) -> str:
    """What a look-up came to, by the name that its result ends in."""
    if "questions" in task.metadata:
        return "answer" if observation in task.answer.split(",") else "off the way"
    path = path_of(task.metadata)
    name = observation.split()[-1] if observation.split() else ""
    name = task.metadata["pages"].get(name, {}).get("see", name)
    return "answer" if name == path[-1] else "on the way" if name in path[1:] else "off the way"


def auc(above: Sequence[float], below: Sequence[float]) -> float:
    """How often one of `above` is above one of `below`; ties count half."""
    a, b = np.asarray(above)[:, None], np.asarray(below)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def summary(kinds: dict[str, list[float]]) -> dict[str, Any]:
    wrong = kinds.get("off the way", [])
    return {
        name: {
            "turns": len(values),
            "mean": round(fmean(values), 5),
            "spread": round(pstdev(values), 5),
            "above_off_the_way": round(auc(values, wrong), 3) if wrong else None,
        }
        for name, values in sorted(kinds.items())
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arena", default="long")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pooled: dict[str, dict[str, list[float]]] = {form: defaultdict(list) for form in FORMS}
    for seed in range(arguments.seeds):
        for form, kinds in asyncio.run(gains(arguments.arena, seed, arguments.tasks)).items():
            for name, values in kinds.items():
                pooled[form][name] += values
    result = {**vars(arguments), "env": asdict(ARENAS[arguments.arena].env), "gains": {f: summary(k) for f, k in pooled.items()}}
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.write_text(json.dumps({**kept, arguments.arena: result}, indent=1) + "\n")
    print(json.dumps(result["gains"], indent=1))


if __name__ == "__main__":
    main()
