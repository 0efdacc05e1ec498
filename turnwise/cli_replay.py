"""`turnwise replay` and `turnwise audit`: is a run what it says, and are the tokens of a dump sound?"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from rich.console import Console

from turnwise.cli_parsing import needs_torch

__all__ = ["AUDIT_EXAMPLES", "REPLAY_EXAMPLES", "add_audit_arguments", "add_replay_arguments", "run_audit", "run_replay"]

REPLAY_EXAMPLES = (
    "  turnwise replay runs/quickstart                    from the start, rollouts from the run's log\n"
    "  turnwise replay runs/quickstart --start step-50    from a checkpoint\n"
    "  turnwise replay runs/quickstart --live             play all episodes again too (no clock may have had a part)"
)
AUDIT_EXAMPLES = (
    "  turnwise audit runs/quickstart\n"
    "  turnwise audit rollouts/step_3/rollouts.bin --format prime_rl\n"
    "  turnwise audit dump.jsonl --stop-ids 151645\n"
    "  turnwise audit dump.jsonl --model Qwen/Qwen3-0.6B --score    every log-probability against the model's"
)


def add_replay_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run", metavar="RUN", type=Path, help="a run's folder")
    sub.add_argument(
        "--start", default="", metavar="CHECKPOINT", help="such as step-50 (default: the beginning, warm-start included)"
    )
    sub.add_argument("--live", action="store_true", help="sample and play again as well, and compare the tokens")


def run_replay(arguments: argparse.Namespace) -> int:
    """Re-execute a recorded training; 0 if nothing differs."""
    needs_torch("replay")
    from turnwise.trainers.replay import replay  # noqa: PLC0415  (torch takes seconds to load)

    console = Console(highlight=False)
    found = asyncio.run(replay(arguments.run, live=arguments.live, start=arguments.start))
    if found.difference is not None:
        console.print(f"[red]different:[/] {found.difference}", soft_wrap=True)
        return 1
    what = "rollouts and training" if arguments.live else "training"
    console.print(f"equal to the last bit: {what} of {found.steps} steps from step {found.first}, {found.metrics} numbers")
    return 0


def add_audit_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("dump", metavar="DUMP", type=Path, help="a file, or a run's folder")
    sub.add_argument("--format", default="", metavar="NAME", help="turnwise, verl, trl or prime_rl (default: by what is in it)")
    sub.add_argument(
        "--stop-ids", type=int, nargs="+", default=(), metavar="ID", help="ids that end a reply (default: found in the dump)"
    )
    sub.add_argument(
        "--model", default="", metavar="DIR", help="whose tokenizer wrote it: words, stops and vocabulary (default: the run's)"
    )
    sub.add_argument("--vocabulary", type=int, default=0, metavar="N", help="ids are below it (default: the model's)")
    sub.add_argument("--score", action="store_true", help="compare log-probabilities with those of the model that sampled")
    sub.add_argument("--temperature", type=float, default=1.0, metavar="T", help="at which it sampled, for --score (default: 1)")
    sub.add_argument("--most", type=int, default=20, metavar="N", help="findings to print (default: 20)")


def run_audit(arguments: argparse.Namespace) -> int:
    """Check the tokens of a dump; 0 if nothing is wrong."""
    needs_torch("audit")
    from turnwise.trainers.audit import audit  # noqa: PLC0415

    console = Console(highlight=False)
    report = audit(
        arguments.dump,
        form=arguments.format,
        stop_ids=tuple(arguments.stop_ids),
        vocabulary=arguments.vocabulary,
        model=arguments.model,
        score=arguments.score,
        temperature=arguments.temperature,
    )
    console.print(report.summary(arguments.most), markup=False, soft_wrap=True)
    return 0 if report.sound else 1
