"""A learner of several ranks (FSDP2 over gloo, Ray actors) against the learner of one process: CPU seconds, errors, bytes.

    python benchmarks/learner_ranks.py            writes benchmarks/results/learner_ranks.json

CPU seconds of the processes that learn, not of a clock: ranks on one machine share its cores, so what is to be seen is what
sharding costs on top. On machines of their own, ranks divide the passes (`passes`) among them.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.cluster.learner import RayLearner, Settings
from turnwise.trainers.cluster.resources import Shares, connected
from turnwise.trainers.cluster.settings import Cluster
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.optimizers import AdamW
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.testing import make_trajectory
from turnwise.types import Group, Task

RESULT = Path(__file__).parent / "results" / "learner_ranks.json"
MODEL = Scratch(hidden=256, layers=6, heads=4, mlp=768, vocabulary=1024, context=1024)
UPDATE = Update(optimizer=AdamW(lr=1e-4), max_tokens=1024)


def batch() -> Batch:
    """8 groups of 4 conversations, 3 turns each, 100 to 240 tokens long."""
    groups: list[Group] = []
    for g in range(8):
        task = Task(f"task {g}", "", "", 0)
        rows = [make_trajectory(task, [0.0, 0.0, float(r % 2)], tokens=15 + 5 * r + 3 * g, context=20) for r in range(4)]
        groups.append(Group(task, tuple(rows)))
    return collate(groups)


def cpu(pids: list[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def measured(learner: Any, given: Batch, pids: list[int], updates: int) -> list[float]:
    """CPU seconds of each update but the first."""
    seconds: list[float] = []
    for _ in range(updates + 1):
        before = cpu(pids)
        learner.update(given, GRPO()(given))
        seconds.append(cpu(pids) - before)
    return seconds[1:]


def gap(weights: Any, want: dict[str, torch.Tensor]) -> float:
    return max(float((tensor - want[name]).abs().max()) for name, tensor in weights.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=5)
    updates = parser.parse_args().updates
    torch.set_num_threads(1)
    model, _ = MODEL.build([], 0)
    given = batch()
    local = LocalLearner(copy.deepcopy(model), UPDATE)
    seconds = measured(local, given, [psutil.Process().pid], updates)
    rows: dict[str, dict[str, Any]] = {"local": _row(seconds)}
    want = {name: tensor.clone() for name, tensor in local.weights().items()}
    say: Callable[[str], None] = print
    with connected("local", say):
        for size in (1, 2):
            cluster = Cluster(address="local", learners=size)
            learner = RayLearner(model, Settings(update=UPDATE, threads=1), cluster, Shares(cpus=0.1))
            seconds = measured(learner, given, learner.pids, updates)
            before = cpu(learner.pids)
            stored = learner.weights()
            cost = {"sync_bytes": stored.size, "sync_cpu_s": round(cpu(learner.pids) - before, 3)}
            rows[f"{size} rank(s)"] = _row(seconds) | {"gap": gap(stored, want)} | cost
            learner.close()
    base = rows["local"]["cpu_s"]
    for name, row in rows.items():
        print(f"{name:<10} {row['cpu_s']:7.2f} s of CPU an update (x {row['cpu_s'] / base:.2f})  {row}")
    result = {"parameters": sum(p.numel() for p in model.parameters()), "tokens": int(given.lengths.sum()), "rows": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def _row(seconds: list[float]) -> dict[str, Any]:
    spread = max(seconds) - min(seconds)
    return {"cpu_s": round(statistics.median(seconds), 3), "spread_s": round(spread, 3), "updates": len(seconds)}


if __name__ == "__main__":
    main()
