"""`turnwise check`: does an environment keep the contract?"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

import gymnasium

from turnwise.cli_parsing import env_id, levels
from turnwise.envs.testing.kit import ContractError, check_turn_env

__all__ = ["CHECK_EXAMPLES", "add_check_arguments", "run_check"]

CHECK_EXAMPLES = (
    "  turnwise check Lookup\n"
    "  turnwise check my_module:me/Mine-v0 --tasks 20         an environment of your own, quickly\n"
    "  turnwise check SQL MathTools --difficulty 1-3 --json"
)


def add_check_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("envs", metavar="ENV", nargs="+", help="environment ids, such as Lookup or my_module:me/Mine-v0")
    sub.add_argument("--tasks", type=int, default=200, metavar="N", help="train and test tasks a level (default: 200)")
    sub.add_argument("--distinct", type=int, default=1000, metavar="N", help="tasks of which no two are equal (default: 1000)")
    sub.add_argument(
        "--chance", type=float, default=0.05, metavar="R", help="mean reward of thoughtless policies (default: 0.05)"
    )
    sub.add_argument("--difficulty", metavar="LEVELS", help="such as 2, 1,3 or 1-5 (default: all)")
    sub.add_argument("--json", action="store_true", help="print a line of JSON for each environment")


def run_check(arguments: argparse.Namespace) -> int:
    """0 if every environment keeps the contract; else 1, with the broken rules on standard error."""
    chosen = None if arguments.difficulty is None else levels(arguments.difficulty)
    broken = 0
    for word in arguments.envs:
        name = word if ":" in word or word in gymnasium.registry else env_id(word)
        try:
            report = check_turn_env(
                name, tasks=arguments.tasks, distinct=arguments.distinct, chance=arguments.chance, levels=chosen
            )
        except ContractError as error:
            broken += 1
            print(error, file=sys.stderr, flush=True)
            continue
        print(json.dumps(asdict(report)) if arguments.json else report, flush=True)
    return int(broken > 0)
