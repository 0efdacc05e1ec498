"""Asynchronous against lock-step training where tools are slow: episodes per second, and success at the end.

    python benchmarks/async_training.py              3 seeds, etas 0 1 2 4; an hour on a machine with nothing else to do
    python benchmarks/async_training.py --quick      to see that it runs

One warm-start (the quickstart's, on tools without delay) is the beginning of all runs of a seed; then recipes/async.toml is
run in lock-step and with each eta, for the same number of steps. Time is that of RL alone, from the first admission to the last
update, on the wall clock: almost all of it is waiting. Success is on 256 unseen tasks, at temperature 1, without delay.
Writes benchmarks/results/async_training.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from turnwise.trainers.logbook import read_metrics
from turnwise.trainers.policies.pretrained import Pretrained
from turnwise.trainers.recipe import EnvChoice, Evaluate, Recipe, load
from turnwise.trainers.recording import read_events
from turnwise.trainers.run import run
from turnwise.trainers.schedule import Asynchronous, LockStep
from turnwise.trainers.sft import SFT

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "async_training.json"


def carried_out(recipe: Recipe, out: Path) -> Path:
    """Run it, unless it stands there already."""
    if not (out / "results.json").is_file():
        asyncio.run(run(recipe, out))
    return out


def warm_start(seed: int, demonstrations: int, out: Path) -> Path:
    """A model that knows the tool and not yet the task."""
    recipe = replace(load(ROOT / "recipes" / "quickstart.toml"), seed=seed, steps=0, evaluate=Evaluate(tasks=0))
    assert isinstance(recipe.warm_start, SFT)
    recipe = replace(recipe, warm_start=replace(recipe.warm_start, demonstrations=demonstrations))
    return carried_out(recipe, out / f"seed{seed}-warm") / "model"


def success(model: Path, seed: int, tasks: int, out: Path) -> dict[str, float]:
    """On unseen tasks, without delay; with its 95 % interval."""
    slow = load(ROOT / "recipes" / "async.toml")
    kwargs = {k: v for k, v in slow.env[0].kwargs.items() if k not in ("env_id", "difficulty")}
    env = EnvChoice(id="turnwise/Lookup-v0", difficulty=(2,), kwargs=kwargs)
    recipe = replace(slow, env=(env,), policy=Pretrained(path=str(model)), schedule=LockStep(), correction=(), steps=0)
    carried_out(replace(recipe, seed=seed, evaluate=Evaluate(tasks=tasks)), out)
    point = json.loads((out / "results.json").read_text())["points"][0]
    return {name: point[name] for name in ("success", "low", "high")}


def measured(eta: int | None, model: Path, seed: int, steps: int, tasks: int, out: Path) -> dict[str, Any]:
    """One run; eta None is lock-step."""
    name = f"seed{seed}-{'lock' if eta is None else f'eta{eta}'}"
    recipe = replace(load(ROOT / "recipes" / "async.toml"), policy=Pretrained(path=str(model)), steps=steps, seed=seed)
    if eta is None:
        recipe = replace(recipe, schedule=LockStep(), correction=())
    else:
        recipe = replace(recipe, schedule=replace(Asynchronous(), eta=eta))
    folder = carried_out(recipe, out / name)
    events = list(read_events(folder / "events.jsonl"))
    seconds = events[-1]["t"] - events[0]["t"]
    metrics = read_metrics(folder / "metrics.jsonl")
    return {
        "seed": seed,
        "eta": eta,
        "episodes": sum(e["event"] == "ended" for e in events),
        "seconds": round(seconds, 2),
        "staleness_mean": fmean(m["staleness_mean"] for m in metrics),
        "staleness_max": max(m["staleness_max"] for m in metrics),
        "ess": fmean(m["ess"] for m in metrics if "ess" in m),
        **success(folder / "model", seed, tasks, out / f"{name}-held-out"),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown; the speed-up is against the lock-step run of the same seed."""
    base = {row["seed"]: row["episodes"] / row["seconds"] for row in rows if row["eta"] is None}
    lines = ["| schedule | episodes/s | speed-up (lowest to highest) | staleness | success |", "|---|---|---|---|---|"]
    for eta in dict.fromkeys(row["eta"] for row in rows):
        own = [row for row in rows if row["eta"] == eta]
        rates = [row["episodes"] / row["seconds"] for row in own]
        ratios = [rate / base[row["seed"]] for rate, row in zip(rates, own, strict=True)]
        cells = [
            "lock-step" if eta is None else f"eta = {eta}",
            f"{fmean(rates):.1f}",
            f"{fmean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            f"{fmean(row['staleness_mean'] for row in own):.2f}",
            ", ".join(f"{row['success']:.2f}" for row in own),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--etas", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("runs/async"), help="runs that stand there are read, not repeated")
    parser.add_argument("--quick", action="store_true", help="one seed, few steps, nothing written to results")
    arguments = parser.parse_args()
    seeds, etas, steps, demonstrations, tasks = arguments.seeds, arguments.etas, arguments.steps, 8000, 256
    if arguments.quick:
        seeds, etas, steps, demonstrations, tasks = [0], [2], 5, 400, 16
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        model = warm_start(seed, demonstrations, arguments.out)
        rows += [measured(eta, model, seed, steps, tasks, arguments.out) for eta in (None, *etas)]
    print(table(rows))
    if not arguments.quick:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
        machine = {"cores": os.cpu_count(), "platform": platform.platform(), "commit": commit}
        RESULTS.write_text(json.dumps({"machine": machine, "steps": steps, "runs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
