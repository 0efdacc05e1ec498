"""Sokoban: steps and levels per CPU second, beside gym-sokoban and GEM, and the rules against gym-sokoban.

    python benchmarks/sokoban.py [--peers PYTHON] [--rounds 5] [--out benchmarks/results/sokoban.json]

Every measurement is a fresh process (so "levels" is cold: imports done, nothing generated before; "again" is the same seeds a
second time), rounds of the engines alternate, the number is count / CPU seconds. PYTHON is an interpreter with gym-sokoban,
gem-llm and setuptools<80 from pip; without it only turnwise is measured. Printed: median (lowest to highest), and turnwise / peer
from the medians, with the range of the ratio.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from turnwise.envs.puzzles.sokoban import Sokoban

MEASURES = ("steps", "levels-6-2", "levels-8-4")
TARGETS = {"steps": 250_000, "levels-6-2": 1_000, "levels-8-4": 100}
OURS = (*MEASURES, "levels-6-2-again", "levels-7-2", "levels-8-4-again")
PEERS = {"gym-sokoban": ("steps", "levels-6-2"), "gem": MEASURES}
SCRIPT = Path(__file__).with_name("sokoban_peers.py")


def measure(python: str, engine: str, what: str, seed: int) -> float | None:
    """Per CPU second; None if the engine is not installed there or failed, which is printed."""
    done = subprocess.run(
        [python, str(SCRIPT), engine, what, str(seed)], capture_output=True, text=True, env=_calm(), check=False
    )
    if done.returncode:
        print(f"{engine} {what}: not measured: {done.stderr.strip().splitlines()[-1] if done.stderr else done.returncode}")
        return None
    result = json.loads(done.stdout.strip().splitlines()[-1])
    return result["count"] / result["cpu_s"]


def _calm() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def compare_rules(python: str, levels: int = 100, moves: int = 200) -> str:
    """Random games on levels of all sizes in both engines, position by position."""
    rng, games = np.random.default_rng(0), []
    for seed in range(levels):
        env = Sokoban(size=6 + seed % 5, boxes=1 + seed % 4, difficulty=1 + seed % 3)
        env.reset(seed=seed)
        games.append((env.task, "".join("udlr"[i] for i in rng.integers(0, 4, moves))))
    lines = "\n".join(json.dumps([task.metadata["level"], play]) for task, play in games)
    done = subprocess.run(
        [python, str(SCRIPT), "gym-sokoban", "rules", "0"], input=lines, capture_output=True, text=True, env=_calm(), check=False
    )
    if done.returncode:
        return f"not compared: {done.stderr.strip().splitlines()[-1]}"
    steps = 0
    for (task, play), line in zip(games, done.stdout.strip().splitlines(), strict=True):
        env = Sokoban(max_turns=10**6, instructions=False)
        env.reset(options={"task": task})
        for letter, (board, solved) in zip(play, json.loads(line), strict=False):
            observation, _, terminated, _, _ = env.step(letter)
            ours = observation.replace(" ", "").split("\n")[: len(board)]
            if ours != board or terminated != solved:
                return f"DIFFER on {task.metadata['level']} after {play}: {ours} and {board}"
            steps += 1
    return f"equal on {steps} steps of {len(games)} levels"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter that has gym-sokoban and gem-llm")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    plan = [("turnwise", sys.executable, OURS)] + (
        [(name, args.peers, whats) for name, whats in PEERS.items()] if args.peers else []
    )
    rates: dict[str, dict[str, list[float]]] = {}
    for seed in range(args.rounds):
        for engine, python, whats in plan:
            for what in whats:
                rate = measure(python, engine, what, seed)
                if rate is not None:
                    rates.setdefault(what, {}).setdefault(engine, []).append(rate)
    rules = compare_rules(args.peers) if args.peers else "not compared: no --peers"
    report(rates)
    print(f"rules against gym-sokoban: {rules}")
    if args.out:
        found = {
            "machine": platform.platform(),
            "python": platform.python_version(),
            "rounds": args.rounds,
            "rules": rules,
            "per_cpu_s": rates,
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def report(rates: dict[str, dict[str, list[float]]]) -> None:
    for what, engines in rates.items():
        ours = engines.get("turnwise", [])
        target = f"   target {TARGETS[what]:,}" if what in TARGETS else ""
        for engine, values in engines.items():
            middle = statistics.median(values)
            line = f"{what:18} {engine:12} {middle:12,.1f} /s ({min(values):,.1f} to {max(values):,.1f})"
            if engine == "turnwise":
                print(line + target)
            elif middle and ours:
                low = f"{min(ours) / max(values):,.1f}"
                high = f"{max(ours) / min(values):,.1f}" if min(values) else "inf"
                print(f"{line}   turnwise is {statistics.median(ours) / middle:,.1f}x ({low} to {high})")


if __name__ == "__main__":
    main()
