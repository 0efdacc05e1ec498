"""GuiLite's steps and resets per CPU second, and Gui's wall time per reset and step, over all apps and levels.

    python benchmarks/gui.py [--rounds 5] [--episodes 10] [--out benchmarks/results/gui.json]

Both play the expert's episodes. GuiLite: the best round (CPU time grows with what else the machine does) and the spread over
rounds. Gui: median, first and last decile in ms, one environment and four at once, each with the browser already started; the
targets are those of issue 5 (BrowserGym: 2,100 ms a reset and 1,160 ms a step, as measured for that issue).
"""

import argparse
import json
import os
import platform
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from turnwise.envs.gui.apps import APPS
from turnwise.envs.gui.gui import Gui
from turnwise.envs.gui.gui_env import GuiEnv
from turnwise.envs.gui.gui_lite import GuiLite

LEVELS = (1, 3, 5)
TARGETS = {"reset_ms": 300.0, "step_ms": 100.0}

Recorded = list[tuple[int, int, list[str]]]
"""(seed, level, actions) of each episode."""


def recorded(name: str, episodes: int) -> Recorded:
    """The expert's episodes of an app."""
    env, found = GuiLite(apps=[name]), Recorded()
    for seed in range(episodes):
        for level in LEVELS:
            env.reset(seed=seed, options={"difficulty": level})
            actions, over = list[str](), False
            while not over:
                actions.append(env.expert_action())
                _, _, terminated, truncated, _ = env.step(actions[-1])
                over = terminated or truncated
            found.append((seed, level, actions))
    return found


def played(env: GuiEnv, episodes: Recorded) -> tuple[list[float], list[float]]:
    """Seconds of each reset and of each step, on the wall."""
    resets, steps = list[float](), list[float]()
    for seed, level, actions in episodes:
        before = time.perf_counter()
        env.reset(seed=seed, options={"difficulty": level})
        resets.append(time.perf_counter() - before)
        for action in actions:
            before = time.perf_counter()
            env.step(action)
            steps.append(time.perf_counter() - before)
    return resets, steps


def whole(env: GuiEnv, episodes: Recorded) -> tuple[float, float]:
    """CPU seconds of all resets and of all steps: a clock around every step would be a tenth of it."""
    resets = steps = 0.0
    for seed, level, actions in episodes:
        before = time.process_time()
        env.reset(seed=seed, options={"difficulty": level})
        begun = time.process_time()
        for action in actions:
            env.step(action)
        resets, steps = resets + begun - before, steps + time.process_time() - begun
    return resets, steps


def lite(name: str, episodes: Recorded, rounds: int) -> dict[str, list[float]]:
    """Per CPU second, each round."""
    found: dict[str, list[float]] = {"steps_per_cpu_s": [], "resets_per_cpu_s": []}
    env = GuiLite(apps=[name])
    count = sum(len(actions) for _, _, actions in episodes)
    for _ in range(rounds):
        resets, steps = whole(env, episodes)
        found["steps_per_cpu_s"].append(round(count / steps))
        found["resets_per_cpu_s"].append(round(len(episodes) / resets))
    return found


def browser(name: str, episodes: Recorded) -> tuple[list[float], list[float]]:
    env = Gui(apps=[name])
    env.reset(seed=0)
    try:
        return played(env, episodes)
    finally:
        env.close()


def deciles(seconds: list[float]) -> dict[str, float]:
    found = statistics.quantiles(seconds, n=10)
    return {"p10": round(found[0] * 1e3, 1), "p50": round(found[4] * 1e3, 1), "p90": round(found[8] * 1e3, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=10, help="of each app and level; one of each in the browser")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gui.json")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    episodes = {name: recorded(name, arguments.episodes) for name in APPS}
    result: dict[str, Any] = {"lite": {}, "browser": {}}
    for name in APPS:
        found = result["lite"][name] = lite(name, episodes[name], arguments.rounds)
        said = (f"{max(values):7,} ({min(values):,} to {max(values):,}) {what}" for what, values in found.items())
        print(f"GuiLite {name:9s} {'   '.join(said)}", flush=True)
    few = {name: episodes[name][: len(LEVELS)] for name in APPS}
    alone = [browser(name, few[name]) for name in APPS]
    with ThreadPoolExecutor(4) as pool:
        before = time.perf_counter()
        together = list(pool.map(lambda name: browser(name, few[name]), APPS))
        wall = time.perf_counter() - before
    for what, at in (("reset_ms", 0), ("step_ms", 1)):
        result["browser"][what] = found = deciles([seconds for each in alone for seconds in each[at]])
        result["browser"][f"{what}_of_four"] = four = deciles([seconds for each in together for seconds in each[at]])
        verdict = "met" if found["p50"] < TARGETS[what] else "MISSED"
        print(f"Gui {what}: {found}, four at once {four}; target p50 < {TARGETS[what]:g} ms: {verdict}")
    result["browser"]["steps_per_s_of_four"] = round(sum(len(each[1]) for each in together) / wall, 1)
    print(f"Gui, four at once: {result['browser']['steps_per_s_of_four']} steps/s")
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), "load_before": load, "load_after": os.getloadavg()[0]}
    arguments.out.write_text(json.dumps(machine | result, indent=1) + "\n")


if __name__ == "__main__":
    main()
