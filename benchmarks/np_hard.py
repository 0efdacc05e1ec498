"""turnwise/NP-*: resets and steps per CPU second at each level, and the exact solvers beside HiGHS.

    python benchmarks/np_hard.py [--resets 100] [--rounds 5] [--out benchmarks/results/np_hard.json]

Resets are cold and draw a new task each; steps are the proposals of the expert but the last, each parsed and checked. Solvers:
CPU milliseconds for a proven optimum of the same instances (level 1), ours and HiGHS through scipy with the programmes of
tests/envs/test_np_optimum.py; the other problems are drawn round their optimum and need none. Printed: median (lowest to
highest).
"""

import argparse
import importlib.util
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium

from turnwise.envs.np.knapsack import best_items
from turnwise.envs.np.max_sat import best_assignment
from turnwise.envs.np.tsp import shortest_tour
from turnwise.envs.registration import BUILT_IN

IDS = [env_id for env_id in BUILT_IN if env_id.startswith("turnwise/NP-")]
PROGRAMMES = Path(__file__).parents[1] / "tests" / "envs" / "test_np_optimum.py"
SOLVERS: dict[str, tuple[Callable[[Any], object], str]] = {
    "TSP": (shortest_tour, "tsp"),
    "Knapsack": (best_items, "knapsack"),
    "MaxSAT": (best_assignment, "max_sat"),
}
"""Name -> (our solver, the programme's function)."""


def rate(count: int, work: Callable[[], object]) -> float:
    """`count` per CPU second of `work`."""
    start = time.process_time()
    work()
    return count / (time.process_time() - start)


def resets(env: Any, level: int, split: str, count: int, first: int) -> float:
    seeds = range(first, first + count)
    return rate(count, lambda: [env.reset(seed=seed, options={"difficulty": level, "split": split}) for seed in seeds])


def steps(env_id: str, level: int) -> float:
    env: Any = gymnasium.make(env_id, difficulty=level, max_turns=10**9).unwrapped
    env.reset(seed=0)
    twin, proposals, over = env.fork(), list[str](), False
    while not over:
        proposals.append(twin.expert_action())
        over = twin.step(proposals[-1])[2]
    again = (proposals[:-1] or ["1"]) * 50
    return rate(len(again), lambda: [env.step(proposal) for proposal in again])


def solver(name: str, count: int) -> dict[str, float]:
    """CPU milliseconds per instance."""
    spec = importlib.util.spec_from_file_location("programmes", PROGRAMMES)
    assert spec is not None and spec.loader is not None
    programmes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(programmes)
    ours, theirs = SOLVERS[name][0], getattr(programmes, SOLVERS[name][1])
    posed = programmes.posed(name, 1, count)
    instances = [env.read(metadata) for metadata, _, env in posed]
    return {
        "turnwise_ms": 1000 / rate(count, lambda: [ours(instance) for instance in instances]),
        "highs_ms": 1000 / rate(count, lambda: [theirs(metadata) for metadata, _, _ in posed]),
    }


def spread(values: list[float]) -> dict[str, int]:
    return {"median": round(statistics.median(values)), "lowest": round(min(values)), "highest": round(max(values))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resets", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine(), "envs": {}, "solvers": {}}
    for env_id in IDS:
        env: Any = gymnasium.make(env_id).unwrapped
        rows = found["envs"][env_id] = {}
        for level in env.levels:
            firsts = [round_ * options.resets for round_ in range(options.rounds)]
            rows[level] = {
                "resets_train": spread([resets(env, level, "train", options.resets, first) for first in firsts]),
                "resets_test": spread([resets(env, level, "test", options.resets, first) for first in firsts]),
                "steps": spread([steps(env_id, level) for _ in firsts]),
            }
            told = [f"{what} {n['median']:,} ({n['lowest']:,} to {n['highest']:,})" for what, n in rows[level].items()]
            print(f"{env_id} level {level}: {'; '.join(told)}", flush=True)
    for name in SOLVERS:
        times = found["solvers"][name] = solver(name, 3)
        ratio = times["highs_ms"] / times["turnwise_ms"]
        print(f"{name}: {times['turnwise_ms']:.2f} ms, HiGHS {times['highs_ms']:.0f} ms, {ratio:.0f} times as long", flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
