"""`python -m turnwise.envs.testing ID`: check one environment and print the report."""

import argparse
import sys

from turnwise.envs.testing.kit import ContractError, check_turn_env


def main(arguments: list[str] | None = None) -> int:
    """0 if the contract holds, 1 with the broken rule on stderr."""
    parser = argparse.ArgumentParser(prog="python -m turnwise.envs.testing", description=__doc__)
    parser.add_argument("id", help="what gymnasium.make takes, such as turnwise/Lookup-v0 or my_module:me/Mine-v0")
    parser.add_argument("--tasks", type=int, default=200, help="train and test tasks per level for the expert (default 200)")
    parser.add_argument("--distinct", type=int, default=1000, help="tasks of which no two may be equal (default 1000)")
    parser.add_argument("--chance", type=float, default=0.05, help="mean reward allowed to thoughtless policies (default 0.05)")
    options = parser.parse_args(arguments)
    try:
        print(check_turn_env(options.id, tasks=options.tasks, distinct=options.distinct, chance=options.chance))
    except ContractError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
