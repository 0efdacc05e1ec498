"""Chaos: environments that fail, hang or crash, an engine killed twice, a rollout worker five times.

    python benchmarks/chaos.py                 faults in one of five episodes: an episode makes four calls
    python benchmarks/chaos.py --rate 0.2      faults in one of five calls, so in six of ten episodes

The recipe, the warm-started model and the quiet run are those of `benchmarks/four_runs.py` (made if they are not there); here it
runs on a Ray cluster of two nodes whose actors get SIGKILL at evenly spaced steps. What should come out: the run ends, every
episode that was admitted has one end, and held-out success, measured without chaos, is within the interval of the quiet run.
Writes benchmarks/results/chaos.json.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from four_runs import Runs, carried_out, cluster, command, lines, result

from turnwise.trainers.recording import read_events

RESULTS = Path(__file__).parent / "results" / "chaos.json"
KILLS = ("worker", "engine", "worker", "worker", "engine", "worker", "worker")
ACTORS = {"worker": "ray::WorkerHost", "engine": "ray::EngineHost"}
KWARGS = 'env_id = "turnwise/Lookup-v0", style = "terse", instructions = false, max_turns = 5'


def chaotic(rate: float) -> str:
    """The environment's table of a recipe: `rate` per call of reset or step, 40 % failures, 20 % hangs and 40 % crashes."""
    faults = f"fail = {0.4 * rate:g}, hang = {0.2 * rate:g}, crash = {0.4 * rate:g}, hang_s = 4.0, transient = true"
    return f'[[env]]\nid = "turnwise/Chaos-v0"\ndifficulty = [2]\nkwargs = {{ {KWARGS}, {faults} }}'


def recipe(runs: Runs, rate: float) -> Path:
    """The quiet run's with another environment."""
    sections = runs.recipe().read_text().split("\n\n")
    path = runs.out / "chaos.toml"
    path.write_text("\n\n".join(chaotic(rate) if section.startswith("[[env]]") else section for section in sections))
    return path


def victims(kind: str) -> list[psutil.Process]:
    """Actors on the nodes that this process started."""
    found: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith(ACTORS[kind]):
                found.append(process)
        except psutil.Error:
            continue
    return sorted(found, key=lambda process: process.pid)


def trained(runs: Runs, rate: float, folder: Path) -> list[str]:
    """Run it and kill on the way; who was killed, and when."""
    words = command(sys.executable, "train", str(recipe(runs, rate)), f"steps={runs.steps}", "--out", str(folder))
    words += ["step_deadline_s=2", "evaluate.tasks=0", "cluster.workers=2", "cluster.engines=1"]
    killed: list[str] = []
    with cluster(runs.out) as address, (runs.out / "chaos.log").open("ab") as log:
        process = subprocess.Popen([*words, "--cluster", address], stdout=log, stderr=log)
        while process.poll() is None:
            time.sleep(0.2)
            done = lines(folder / "metrics.jsonl")
            if len(killed) < len(KILLS) and done >= runs.steps * (len(killed) + 1) // (len(KILLS) + 1):
                kind = KILLS[len(killed)]
                if alive := victims(kind):
                    os.kill(alive[len(killed) % len(alive)].pid, signal.SIGKILL)
                    killed.append(f"{kind} after step {done}")
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}; see {runs.out / 'chaos.log'}")
    return killed


def held_out(runs: Runs, model: Path) -> dict[str, Any]:
    folder = model.parent.with_name(f"{model.parent.name}-held-out")
    if not (folder / "results.json").is_file():
        words = command(sys.executable, "train", str(runs.recipe()), f"policy.path={model}", "steps=0", "--out", str(folder))
        carried_out(words, runs.out / "chaos-held-out.log")
    return result(folder)


def accounts(folder: Path) -> dict[str, Any]:
    """What was admitted, how it ended, who was lost."""
    events = list(read_events(folder / "events.jsonl"))
    size = 8
    admitted = sum(len(e["problems"]) for e in events if e["event"] == "admitted") * size
    ends = Counter(e["how"] for e in events if e["event"] == "ended")
    return {
        "admitted": admitted,
        "ended": sum(ends.values()),
        "ends": dict(ends.most_common()),
        "retried": sum(e["event"] == "retried" for e in events),
        "lost": dict(Counter(e["what"] for e in events if e["event"] == "lost")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rate", type=float, default=0.055, help="faults per call")
    parser.add_argument("--out", type=Path, default=Path("runs/four"))
    arguments = parser.parse_args()
    runs = Runs(arguments.out, arguments.steps, sys.executable)
    quiet = result(runs.train("torch"))
    folder = arguments.out / f"chaos-{arguments.rate:g}-{arguments.steps}"
    note = folder.with_name(f"{folder.name}.killed.json")
    if not (folder / "results.json").is_file():
        note.write_text(json.dumps(trained(runs, arguments.rate, folder)))
    rows = {"quiet": quiet, "chaos": held_out(runs, folder / "model")}
    record = {
        "rate": arguments.rate,
        "steps": arguments.steps,
        **rows,
        "killed": json.loads(note.read_text()),
        **accounts(folder),
    }
    print(json.dumps(record, indent=1))
    known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    RESULTS.write_text(json.dumps(known | {folder.name: record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
