"""One recipe, four ways: the embedded engine, vLLM, a Ray cluster of two nodes, and killed by SIGKILL and resumed; and vLLM in an
actor of such a cluster.

    python benchmarks/four_runs.py --vllm .venv-vllm/bin/python        some ten minutes on an idle machine
    python benchmarks/four_runs.py --only torch killed replay

All begin with the same warm-started model (made once). What should come out: held-out success within one another's intervals, and
metrics of `torch`, `killed` and `replay` that are equal to the last bit. Runs that stand in --out are read, not repeated.
Writes benchmarks/results/four_runs.json.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from turnwise.trainers.logbook import read_metrics

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "four_runs.json"
RECIPE = str(ROOT / "recipes" / "quickstart.toml")
HEADS = "policy.heads=3"  # of 32 numbers each, which vLLM knows on a CPU
RUNS = ("torch", "vllm", "ray", "ray_vllm", "killed", "replay")


def command(python: str, *arguments: str) -> list[str]:
    return [python, "-m", "turnwise.cli", *arguments]


def carried_out(words: Sequence[str], log: Path, **environment: str) -> None:
    with log.open("ab") as file:
        code = subprocess.run(words, stdout=file, stderr=file, env={**os.environ, **environment}).returncode
    if code:
        raise SystemExit(f"{' '.join(words)} ended with {code}:\n{log.read_text()[-3000:]}")


class Runs:
    """The folders of the runs, and how each is carried out."""

    def __init__(self, out: Path, steps: int, vllm: str) -> None:
        self.out, self.steps, self.vllm = out, steps, vllm
        out.mkdir(parents=True, exist_ok=True)

    def warm(self) -> Path:
        folder = self.out / "warm"
        if not (folder / "results.json").is_file():
            words = command(sys.executable, "train", RECIPE, HEADS, "steps=0", "evaluate.tasks=0", "--out", str(folder))
            carried_out(words, self.out / "warm.log")
        return folder / "model"

    def train(self, name: str, *more: str, python: str = sys.executable) -> Path:
        folder = self.out / name
        if not (folder / "results.json").is_file():
            words = command(python, "train", str(self.recipe()), f"steps={self.steps}", *more, "--out", str(folder))
            carried_out(words, self.out / f"{name}.log")
        return folder

    def recipe(self) -> Path:
        """The quickstart from the warm-started model on."""
        path = self.out / "recipe.toml"
        text = Path(RECIPE).read_text()
        kept, sections = text.split("\n\n")[0], text.split("\n\n")[1:]
        own = [s for s in sections if not s.startswith(("[policy]", "[warm_start]", "[evaluate]"))]
        policy = f'[policy]\nname = "pretrained"\npath = "{self.warm()}"'
        path.write_text("\n\n".join([kept, *own, policy, "[evaluate]\ntasks = 256\nevery = 0"]) + "\n")
        return path

    def killed(self) -> Path:
        """SIGKILL after a checkpoint, half way, and then to the end."""
        folder = self.out / "killed"
        if (folder / "results.json").is_file():
            return folder
        words = command(
            sys.executable, "train", str(self.recipe()), f"steps={self.steps}", "checkpoint_every=5", "--out", str(folder)
        )
        with (self.out / "killed.log").open("ab") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log)
            try:
                while process.poll() is None and lines(folder / "metrics.jsonl") <= self.steps // 2:
                    time.sleep(0.05)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
        carried_out(command(sys.executable, "train", "--resume", str(folder)), self.out / "killed.log")
        return folder

    def ray(self, name: str, *more: str, python: str = sys.executable) -> Path:
        if (self.out / name / "results.json").is_file():
            return self.out / name
        with cluster(self.out, python) as address:
            return self.train(name, *more, "--cluster", address, python=python)

    def replay(self) -> str:
        done = subprocess.run(
            command(sys.executable, "replay", str(self.out / "torch"), "--live"), capture_output=True, text=True
        )
        return " ".join((done.stdout + done.stderr).split())


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


@contextmanager
def cluster(out: Path, python: str) -> Generator[str]:
    """Two Ray nodes on this machine; the address of the head."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(16).hex()}  # these nodes' own
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    ray = [python, "-m", "ray.scripts.scripts", "start", "--num-cpus=2", "--object-store-memory=200000000", "--block"]
    common = [*ray, "--disable-usage-stats", "--node-ip-address=127.0.0.1"]
    nodes = [
        [
            *common,
            "--head",
            f"--port={address.split(':')[1]}",
            "--include-dashboard=false",
            f"--temp-dir={out.resolve() / 'tmp'}",
        ],
        [*common, f"--address={address}"],
    ]
    with (out / "nodes.log").open("wb") as log:
        started: list[subprocess.Popen[bytes]] = []
        try:
            for node in nodes:
                started.append(subprocess.Popen(node, stdout=log, stderr=log, start_new_session=True))
                while (out / "nodes.log").read_text().count("Ray runtime started") < len(started):
                    if started[-1].poll() is not None:
                        raise SystemExit(f"a Ray node did not start; see {out / 'nodes.log'}")
                    time.sleep(0.5)
            yield address
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait(60)


def same_metrics(one: Path, two: Path) -> str:
    """What is equal, or the first difference."""
    a, b = (read_metrics(folder / "metrics.jsonl") for folder in (one, two))
    if len(a) != len(b):
        return f"{len(a)} and {len(b)} steps"
    for step, (x, y) in enumerate(zip(a, b, strict=True)):
        for name in sorted(x.keys() | y.keys()):
            if repr(x.get(name)) != repr(y.get(name)):
                return f"step {step}, {name}: {x.get(name)!r} and {y.get(name)!r}"
    return f"equal: {len(a)} steps, {sum(map(len, a))} numbers"


def result(folder: Path) -> dict[str, Any]:
    data = json.loads((folder / "results.json").read_text())
    last = data["points"][-1]
    return {"success": last["success"], "low": last["low"], "high": last["high"], "seconds": round(data["seconds"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", default=str(ROOT / ".venv-vllm" / "bin" / "python"), help="the interpreter that has vLLM")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=RUNS)
    parser.add_argument("--out", type=Path, default=Path("runs/four"))
    arguments = parser.parse_args()
    runs = Runs(arguments.out, arguments.steps, arguments.vllm)
    how = {
        "torch": lambda: runs.train("torch"),
        "vllm": lambda: runs.train("vllm", "engine=vllm", python=arguments.vllm),
        "ray": lambda: runs.ray("ray"),
        "ray_vllm": lambda: runs.ray("ray_vllm", "engine=vllm", python=arguments.vllm),
        "killed": runs.killed,
    }
    rows: dict[str, Any] = {}
    for name in arguments.only:
        if name in how:
            folder = how[name]()
            rows[name] = result(folder)
            if name != "torch":
                rows[name]["metrics against torch"] = same_metrics(arguments.out / "torch", folder)
        else:
            rows[name] = {"said": runs.replay()}
        print(name, rows[name], flush=True)
    known = json.loads(RESULTS.read_text())["runs"] if RESULTS.is_file() else {}
    RESULTS.write_text(json.dumps({"steps": arguments.steps, "heads": 3, "runs": known | rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
