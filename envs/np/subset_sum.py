"""turnwise/NP-SubsetSum-v0: which of the numbers add up to the target (subset sum).

A decision problem: some of the numbers add up to exactly the target, for that is how it was drawn. There is no reward for coming
close. Adding up whatever still fits, from the largest, from the smallest or in the given order, never hits the target, nor do all
numbers from the first to any, nor all from any to the last. Levels are measured by the numbers; half of them are in the drawn
solution:

    level  numbers  subsets
      1       9          512
      2      11        2,048
      3      13        8,192
      4      16       65,536
      5      20    1,048,576

The expert adds one number of the solution after the other.

Sources: Karp, Reducibility among combinatorial problems, 1972 (there called knapsack).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.np.fields import LARGEST, number, numbers
from turnwise.envs.np.proposals import Proposal, repeated_or_unknown
from turnwise.envs.np.propose import Draft, ProposeAndImprove
from turnwise.types import Task

__all__ = ["NUMBERS", "SubsetSum", "Summands"]

NUMBERS = {1: 9, 2: 11, 3: 13, 4: 16, 5: 20}
"""Level -> how many numbers."""
_RANGE = (100, 999)


class Summands(NamedTuple):
    """Numbers, and what some of them add up to."""

    values: tuple[int, ...]
    target: int


class SubsetSum(ProposeAndImprove[Summands]):
    """Numbers that add up to the target: reward 1 (`progress` and `solved`, a half each) for the exact sum, else 0."""

    name, aim = "subset-sum", "Subset sum: choose some of the numbers, each at most once, that add up to exactly the target."
    form = "Reply with the labels of the numbers to add, separated by spaces, for example <answer>2 3 ...</answer>."
    pays = "Only the exact sum earns anything"
    most = True

    @override
    def draw(self, draws: Draws, level: int) -> Draft:
        least, most = _RANGE
        values = [least + draws.below(most - least + 1) for _ in range(NUMBERS[level])]
        chosen = sorted(draws.shuffled(range(len(values)))[: len(values) // 2])
        solution = tuple([i + 1 for i in chosen])
        return {"values": values, "target": sum([values[i] for i in chosen])}, lambda: (solution,)

    @override
    def read(self, metadata: Mapping[str, Any]) -> Summands:
        return Summands(numbers(metadata["values"]), number(metadata["target"], 1, LARGEST))

    @override
    def turns(self, task: Task) -> int:
        """Half the numbers and 4."""
        return len(task.metadata["values"]) // 2 + 4

    @override
    def show(self, instance: Summands) -> str:
        return "Label: number\n" + "\n".join(f"{i}: {v}" for i, v in enumerate(instance.values, 1))

    @override
    def flaw(self, instance: Summands, proposal: Proposal) -> str:
        flaw = repeated_or_unknown(proposal[0], len(instance.values), "label")
        if flaw:
            return flaw
        total = self.value(instance, proposal)
        return f"the sum is {total}, {total - instance.target} too much." if total > instance.target else ""

    @override
    def value(self, instance: Summands, proposal: Proposal) -> int:
        return sum([instance.values[label - 1] for label in proposal[0]])

    @override
    def named(self, value: int) -> str:
        return f"sum {value}"

    @override
    def report(self, instance: Summands, proposal: Proposal, value: int) -> str:
        return f"sum {value}, {instance.target - value} too little" if value < instance.target else f"sum {value}"

    @override
    def wanted(self, beat: int) -> str:
        return f"Wanted: sum {beat + 1}."

    @override
    def thumbs(self, instance: Summands) -> Iterator[int]:
        """One less than the target, so that nothing else counts; the target itself where a rule of thumb hits it."""
        values, target = instance
        orders = (values, values[::-1], sorted(values), sorted(values, reverse=True))
        hit = any(target in accumulate(order) or _filled(order, target) for order in orders)
        yield target if hit or target in values else target - 1

    @override
    def climb(self, instance: Summands, optimal: Proposal) -> Iterator[Proposal]:
        return ((chosen,) for chosen in accumulate((label,) for label in optimal[0]))


def _filled(order: Sequence[int], target: int) -> bool:
    """Whether adding numbers in that order, each that still fits, ends at the target."""
    left = target
    for value in order:
        left -= value if value <= left else 0
    return left == 0
