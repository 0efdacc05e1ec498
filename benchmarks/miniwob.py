"""MiniWoB's reset and step: wall time and CPU time of this process, the driver and the browser together.

    python benchmarks/miniwob.py [--episodes 6] [--out benchmarks/results/miniwob.json]

The expert's episodes on pages of many kinds, the browser started already. Wall times: median, first and last decile in ms; CPU:
mean in ms, which depends less on what else the machine does. The targets are those of issue 5, where the package's own
environments (Selenium) were measured at 85 ms a reset and 80 ms a step, without a new page for each episode.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

from turnwise.envs.miniwob.miniwob import MiniWoB
from turnwise.tool_servers.sandbox.bubblewrap_launch import tree, usage

PAGES = (
    *("click-button", "click-checkboxes", "click-menu", "click-shape", "choose-date", "enter-text", "login-user", "email-inbox"),
    *("use-slider-2", "drag-sort-numbers", "book-flight", "social-media-all", "terminal", "search-engine"),
)
TARGETS = {"reset_ms": 300.0, "step_ms": 100.0}


def cpu_ms() -> float:
    """Of this process and all below it, those that ended included."""
    return usage(tree(os.getpid()))[1] * 1e3


def played(name: str, episodes: int) -> dict[str, list[float]]:
    """ms and CPU ms of each reset and step."""
    env = MiniWoB(tasks=name)
    found: dict[str, list[float]] = {"reset_ms": [], "step_ms": [], "reset_cpu_ms": [], "step_cpu_ms": []}
    env.reset(seed=0)
    for seed in range(episodes):
        before, spent = time.perf_counter(), cpu_ms()
        env.reset(seed=seed)
        found["reset_ms"].append(1e3 * (time.perf_counter() - before))
        found["reset_cpu_ms"].append(cpu_ms() - spent)
        over = False
        while not over:
            action = env.expert_action()
            before, spent = time.perf_counter(), cpu_ms()
            _, _, terminated, truncated, _ = env.step(action)
            found["step_ms"].append(1e3 * (time.perf_counter() - before))
            found["step_cpu_ms"].append(cpu_ms() - spent)
            over = terminated or truncated
    env.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=6, help="of each page")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "miniwob.json")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    each = {name: played(name, arguments.episodes) for name in PAGES}
    result: dict[str, Any] = {"pages": {}}
    for name, found in each.items():
        result["pages"][name] = {what: round(statistics.median(values), 1) for what, values in found.items()}
        print(f"{name:20s} {result['pages'][name]}")
    for what in ("reset", "step"):
        wall = sorted(value for found in each.values() for value in found[f"{what}_ms"])
        spent = statistics.mean(value for found in each.values() for value in found[f"{what}_cpu_ms"])
        p10, p50, p90 = (round(wall[len(wall) * at // 10], 1) for at in (1, 5, 9))
        result[f"{what}_ms"], result[f"{what}_cpu_ms"] = {"p10": p10, "p50": p50, "p90": p90}, round(spent, 1)
        verdict = "met" if p50 < TARGETS[f"{what}_ms"] else "MISSED"
        print(f"{what}: {p50} ms ({p10} to {p90}), CPU {spent:.1f} ms; target p50 < {TARGETS[f'{what}_ms']:g} ms: {verdict}")
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), "load_before": load, "load_after": os.getloadavg()[0]}
    arguments.out.write_text(json.dumps(machine | result, indent=1) + "\n")


if __name__ == "__main__":
    main()
