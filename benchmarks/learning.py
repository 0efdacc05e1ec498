"""What recipes learn: held-out success before training, after the warm-start and after RL, for several seeds.

    python benchmarks/learning.py recipes/quickstart.toml --seeds 5 --jobs 2

Each seed is a run of its own (`turnwise train`), so it has its own warm-start. Prints a table in Markdown and writes
benchmarks/results/learning_NAME.json. Runs that stand in --out already are read, not repeated.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

STAGES = ("start", "warm-start", "rl")


def trained(recipe: Path, overrides: list[str], seed: int, out: Path) -> dict[str, Any]:
    """The results of one seed: the last point of each stage, and the seconds of the whole run."""
    folder = out / f"{recipe.stem}-seed{seed}"
    results = folder / "results.json"
    if not results.is_file():
        command = [sys.executable, "-m", "turnwise.cli", "train", str(recipe), *overrides, f"seed={seed}", "--out", str(folder)]
        finished = subprocess.run(command, capture_output=True, text=True)
        if finished.returncode:
            raise SystemExit(f"seed {seed} failed:\n{finished.stdout[-2000:]}\n{finished.stderr[-2000:]}")
    data = json.loads(results.read_text())
    last = {point["stage"]: point for point in data["points"]}
    return {"seed": seed, "seconds": round(data["seconds"]), **{stage: last[stage] for stage in STAGES if stage in last}}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| seed | before training | after warm-start | after RL | RL alone | seconds |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = [shown(row.get(stage)) for stage in STAGES]
        gain = row["rl"]["success"] - row.get("warm-start", row["start"])["success"]
        lines.append(f"| {row['seed']} | {' | '.join(cells)} | {100 * gain:+.0f} points | {row['seconds']} |")
    return "\n".join(lines)


def shown(point: dict[str, Any] | None) -> str:
    """0.914 (0.873 to 0.943)"""
    return f"{point['success']:.3f} ({point['low']:.3f} to {point['high']:.3f})" if point else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value, as for turnwise train")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--out", type=Path, default=Path("runs/learning"))
    arguments = parser.parse_args()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = [
            pool.submit(trained, arguments.recipe, arguments.overrides, seed, arguments.out) for seed in range(arguments.seeds)
        ]
        rows = [job.result() for job in jobs]
    print(table(rows))
    results = Path(__file__).parent / "results" / f"learning_{arguments.recipe.stem}.json"
    results.parent.mkdir(exist_ok=True)
    record = {"recipe": arguments.recipe.read_text(), "overrides": arguments.overrides, "jobs": arguments.jobs, "runs": rows}
    results.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
