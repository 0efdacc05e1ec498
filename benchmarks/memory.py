"""Peak memory of real runs against the plan that is printed before them, and conversations four times as long.

    python benchmarks/memory.py [--tokens 192] [--cases plain] [--out benchmarks/results/memory.json]

A fresh process for each case plays and trains two steps of 4 conversations on Lookup with a model from nothing (9 M parameters,
65,536 tokens in its vocabulary). It says nothing right, hits its stop token once in 65,536 tokens, and may talk for 256 tokens a
turn and for ever: so every conversation fills its context to the end, nearly all of it sampled. Cases differ in `max_context`
alone; both are so long that a pass has more sampled tokens than one chunk of logits. Measured is the most memory that the process
held (VmHWM, reset before the run) beyond what it held after a small run of the same kind, which has loaded every library. glibc
is told to give freed buffers back at once, or holes would be counted too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from transformers import Qwen3ForCausalLM

from turnwise.agents.store import read_groups
from turnwise.trainers.memory import memory_plan
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import loads
from turnwise.trainers.run import run

LENGTHS = (1, 4)
FREED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
CASES: dict[str, list[str]] = {
    "plain": [],
    "activation checkpointing": ["activation_checkpointing=true"],
    "bfloat16": ["policy.dtype=bfloat16"],
}
RECIPE = """
steps = 2
tasks_per_step = 1
max_new_tokens = 256
concurrency = 4
entropy = 0.01           # a policy that is never right would have no gradient
threads = 1
[[env]]
id = "turnwise/Lookup-v0"
kwargs = {{ style = "terse", instructions = false, max_turns = 1000 }}
[policy]
name = "pretrained"
path = "{path}"
[engine]
name = "torch"
cache_tokens = {cache_tokens}
[rollout]
name = "independent"
size = 4
[evaluate]
tasks = 0
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=192, help="of the shorter conversations")
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        print(json.dumps(child(args.tokens, args.child)))
        return
    machine = {"device": "cpu", "cpu": platform.machine(), "python": platform.python_version()}
    results: list[dict[str, Any]] = []
    for case in args.cases:
        for times in LENGTHS:
            result = {"case": case, "max_context": times * args.tokens} | measured(args.tokens, times, CASES[case])
            results.append(result)
            plan, peak = result["plan_bytes"] / 1e6, result["peak_bytes"] / 1e6
            print(
                f"{case:25} conversations of {result['tokens']:5.0f} tokens, {result['sampled_tokens']:5.0f} of them sampled: "
                f"plan {plan:7.1f} MB, measured {peak:7.1f} MB, {peak / plan:.2f} of it; {result['cpu_seconds']:.0f} s of CPU",
                flush=True,
            )
        short, long = results[-2:]
        print(f"{case:25} four times as long: {long['peak_bytes'] / short['peak_bytes']:.2f} times the peak", flush=True)
        if args.out:
            args.out.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


def measured(tokens: int, times: int, settings: list[str]) -> dict[str, Any]:
    """One case, in a process of its own."""
    command = [sys.executable, __file__, "--tokens", str(tokens), "--child", f"max_context={times * tokens}", *settings]
    done = subprocess.run(command, env=os.environ | FREED_AT_ONCE, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(tokens: int, settings: list[str]) -> dict[str, Any]:
    """Bytes planned and measured of one run."""
    with tempfile.TemporaryDirectory() as folder:
        path, console = Path(folder), Console(stderr=True)
        write_policy(path / "policy", LENGTHS[-1] * tokens)
        text = RECIPE.format(path=path / "policy", cache_tokens=4 * tokens)
        asyncio.run(run(loads(text, ["max_context=96", "max_tokens=64"]), path / "small", console=console))
        recipe = loads(text, [f"max_tokens={LENGTHS[-1] * tokens}", *settings])
        plan = memory_plan(recipe)
        assert plan is not None
        before = peak_memory(reset=True)
        asyncio.run(run(recipe, path / "run", console=console))
        after = peak_memory()
        played = [t for group in read_groups(path / "run" / "trajectories.jsonl") for t in group]
    return {
        "plan_bytes": plan.total,
        "peak_bytes": after - before,
        "before_bytes": before,
        "tokens": fmean(len(t.ids) for t in played),
        "sampled_tokens": fmean(sum(len(turn.action_ids) for turn in t.turns) for t in played),
        "turns": fmean(len(t.turns) for t in played),
        "cpu_seconds": time.process_time(),
        "parts": {part.name: part.size for part in plan.parts},
    }


def write_policy(path: Path, context: int) -> None:
    """A checkpoint with a vocabulary that is larger than its tokenizer's, as those of large models are."""
    source = Scratch(hidden=128, layers=4, heads=4, mlp=384, vocabulary=1024, context=context)
    _, tokenizer = source.build([Path(__file__).read_text()], 0)
    model: Any = Qwen3ForCausalLM(source.config(65536))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def peak_memory(*, reset: bool = False) -> int:
    """Most bytes of memory this process ever held, or has held since it was last reset; with `reset`, those it holds now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
